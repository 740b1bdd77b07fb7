//! Contact sheets: a labelled grid of pictures.

use image::{Rgb, RgbImage, imageops};

use super::overlay::Shading;
use super::text::{Align, Text};

/// One row of a [`Sheet`].
#[derive(Debug, Clone, Default)]
pub struct SheetRow {
    /// Lines to the left of the row, the first in bold: a class, a probability.
    pub label: Vec<String>,
    /// One picture for each column, or a gap.
    pub cells: Vec<Option<RgbImage>>,
    /// Whether a wider gap sets the row apart from the one before.
    pub starts_group: bool,
}

/// A colour scale under a sheet.
#[derive(Debug, Clone)]
pub struct Legend {
    /// Colours.
    pub shading: Shading,
    /// What the first and the last colour mean.
    pub ends: [String; 2],
}

/// A grid of pictures with headings and row labels: images × methods, or before and after.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// Headings of the columns, wrapped to two lines; empty ones draw nothing.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<SheetRow>,
    /// Colour scales under the grid, one below the other.
    pub legends: Vec<Legend>,
    /// Width of a cell in pixels, at least 16; pictures keep their aspect ratio.
    pub cell_px: u32,
}

impl Sheet {
    /// Draws the sheet on white, text and gaps in proportion to [`Self::cell_px`].
    pub fn render(&self) -> RgbImage {
        let grid = Grid::new(self);
        let (width, height) = grid.size();
        let mut canvas = RgbImage::from_pixel(width, height, PAPER);
        grid.draw_headings(&mut canvas);
        for row in &grid.rows {
            grid.draw_row(&mut canvas, row);
        }
        for (place, legend) in self.legends.iter().enumerate() {
            grid.draw_legend(&mut canvas, legend, place);
        }
        canvas
    }
}

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([20, 20, 20]);
const FAINT_INK: Rgb<u8> = Rgb([95, 95, 95]);
/// The most lines of a heading, and of one entry of a label.
const HEADING_LINES: usize = 2;
const LABEL_LINES: usize = 3;
/// The tallest picture, in widths of a cell.
const TALLEST: f32 = 1.5;

/// A sheet whose text is wrapped and whose pictures have their size: all positions are known.
struct Grid {
    bold: Text,
    plain: Text,
    cell: u32,
    line: f32,
    gap: u32,
    margin: u32,
    columns: u32,
    label_width: u32,
    headings: Vec<Vec<String>>,
    rows: Vec<Row>,
    /// Lower end of the headings, and of the last row.
    top: u32,
    bottom: u32,
    /// Of all legends.
    legend_height: u32,
}

struct Row {
    top: u32,
    height: u32,
    label: Vec<LabelLine>,
    cells: Vec<Option<RgbImage>>,
}

struct LabelLine {
    text: String,
    is_first: bool,
}

impl Grid {
    fn new(sheet: &Sheet) -> Self {
        let cell = sheet.cell_px.max(16);
        let line = (cell as f32 * 0.1).clamp(11.0, 40.0);
        let (gap, margin) = ((cell / 24).max(3), (cell / 12).max(6));
        let (bold, plain) = (Text::new(true, line), Text::new(false, line));

        let wrap = |heading: &String| bold.wrap(heading, cell as f32, HEADING_LINES);
        let headings: Vec<_> = sheet.columns.iter().map(wrap).collect();
        let top = margin + text_height(headings.iter().map(Vec::len).max().unwrap_or(0), line, gap);

        let mut y = top;
        let mut rows = Vec::new();
        for (index, row) in sheet.rows.iter().enumerate() {
            if index > 0 {
                y += if row.starts_group { 3 * gap } else { gap };
            }
            let cells: Vec<_> = row
                .cells
                .iter()
                .map(|image| image.as_ref().map(|image| fit(image, cell)))
                .collect();
            let label = wrap_label(&row.label, &bold, &plain, cell);
            let tallest = cells.iter().flatten().map(RgbImage::height).max().unwrap_or(0);
            let height = tallest.max(text_height(label.len(), line, 0));
            rows.push(Row { top: y, height, label, cells });
            y += height;
        }

        let columns = rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
        let widest = rows.iter().flat_map(|row| &row.label).map(|line| bold.width(&line.text));
        let widest = widest.fold(0.0, f32::max).ceil() as u32;
        Self {
            cell,
            line,
            gap,
            margin,
            columns: columns.max(headings.len()) as u32,
            label_width: if widest == 0 { 0 } else { widest + gap },
            headings,
            rows,
            top,
            bottom: y,
            legend_height: sheet.legends.len() as u32 * text_height(1, line, 2 * gap),
            bold,
            plain,
        }
    }

    fn size(&self) -> (u32, u32) {
        let width = self.columns * (self.cell + self.gap) - self.gap.min(self.columns * self.gap);
        let width = self.left(0) + width + self.margin;
        (width, self.bottom + self.legend_height + self.margin)
    }

    /// Left end of a column.
    fn left(&self, column: usize) -> u32 {
        self.margin + self.label_width + column as u32 * (self.cell + self.gap)
    }

    /// Headings stand on the grid, whether they have one line or two.
    fn draw_headings(&self, canvas: &mut RgbImage) {
        for (column, lines) in self.headings.iter().enumerate() {
            let middle = self.left(column) as f32 + 0.5 * self.cell as f32;
            let mut y = (self.top - self.gap) as f32 - lines.len() as f32 * self.line;
            for text in lines {
                self.bold.draw(canvas, text, (middle, y), Align::Centre, INK);
                y += self.line;
            }
        }
    }

    fn draw_row(&self, canvas: &mut RgbImage, row: &Row) {
        for (column, image) in row.cells.iter().enumerate() {
            let Some(image) = image else { continue };
            let x = self.left(column) + (self.cell - image.width()) / 2;
            let y = row.top + (row.height - image.height()) / 2;
            imageops::replace(canvas, image, x.into(), y.into());
        }
        let right = (self.margin + self.label_width - self.gap.min(self.label_width)) as f32;
        let mut y = row.top as f32 + 0.5 * (row.height as f32 - row.label.len() as f32 * self.line);
        for LabelLine { text, is_first } in &row.label {
            let (font, ink) = if *is_first { (&self.bold, INK) } else { (&self.plain, FAINT_INK) };
            font.draw(canvas, text, (right, y), Align::Right, ink);
            y += self.line;
        }
    }

    /// A colour scale on the right under the grid, below `place` others, its meaning on either side.
    fn draw_legend(&self, canvas: &mut RgbImage, legend: &Legend, place: usize) {
        let [low, high] = &legend.ends;
        let space = 0.5 * self.line;
        let above = place as u32 * text_height(1, self.line, 2 * self.gap);
        let y = (self.bottom + above + 2 * self.gap) as f32;
        let right = (canvas.width() - self.margin) as f32;
        self.plain.draw(canvas, high, (right, y), Align::Right, FAINT_INK);
        let bar_right = right - self.plain.width(high) - space;
        let room = bar_right - self.plain.width(low) - space - self.margin as f32;
        let bar = room.clamp(1.0, 14.0 * self.line);
        let bar_left = bar_right - bar;
        self.plain.draw(canvas, low, (bar_left - space, y), Align::Right, FAINT_INK);

        let (top, bottom) = (y + 0.15 * self.line, y + 0.85 * self.line);
        for x in bar_left.max(0.0) as u32..bar_right.max(0.0) as u32 {
            let value = (x as f32 + 0.5 - bar_left) / bar;
            let color = legend.shading.color(value);
            for y in top as u32..bottom as u32 {
                canvas.put_pixel(x, y, color);
            }
        }
    }
}

/// Height of `lines` of text with a gap; nothing for none.
fn text_height(lines: usize, line: f32, gap: u32) -> u32 {
    if lines == 0 { 0 } else { (lines as f32 * line).ceil() as u32 + gap }
}

/// The lines of a label, at most as wide as a cell.
fn wrap_label(label: &[String], bold: &Text, plain: &Text, cell: u32) -> Vec<LabelLine> {
    let lines = label.iter().enumerate().flat_map(|(i, line)| {
        let is_first = i == 0;
        let font = if is_first { bold } else { plain };
        let wrapped = font.wrap(line, cell as f32, LABEL_LINES);
        wrapped.into_iter().map(move |text| LabelLine { text, is_first })
    });
    lines.collect()
}

/// The picture at the width of a cell, or narrower where it would be too tall.
fn fit(image: &RgbImage, cell: u32) -> RgbImage {
    let (width, height) = (image.width().max(1) as f32, image.height().max(1) as f32);
    let scale = (cell as f32 / width).min(TALLEST * cell as f32 / height);
    let scaled = |length: f32| ((length * scale).round() as u32).max(1);
    let filter =
        if scale > 1.0 { imageops::FilterType::CatmullRom } else { imageops::FilterType::Lanczos3 };
    imageops::resize(image, scaled(width), scaled(height), filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, color: [u8; 3]) -> Option<RgbImage> {
        Some(RgbImage::from_pixel(width, height, Rgb(color)))
    }

    fn sheet(label: &[&str]) -> Sheet {
        let row = |color| SheetRow {
            label: label.iter().map(|&line| line.to_owned()).collect(),
            cells: vec![picture(60, 40, color), None, picture(10, 90, color)],
            starts_group: true,
        };
        Sheet {
            columns: vec!["Image".to_owned(), String::new(), "Integrated Gradients".to_owned()],
            rows: vec![row([200, 0, 0]), row([0, 0, 200])],
            legends: Vec::new(),
            cell_px: 60,
        }
    }

    #[test]
    fn pictures_keep_their_aspect_and_rows_their_order() {
        let sheet = sheet(&[]);
        let grid = Grid::new(&sheet);
        // 60 × 40 stays, 10 × 90 becomes 10 × 90 (the tallest), centred in its cell.
        assert_eq!(grid.rows[0].cells[0].as_ref().map(RgbImage::dimensions), Some((60, 40)));
        assert_eq!(grid.rows[0].cells[2].as_ref().map(RgbImage::dimensions), Some((10, 90)));
        let drawn = sheet.render();
        assert_eq!(drawn.dimensions(), grid.size());
        let middle = |column: usize, row: usize| {
            let row = &grid.rows[row];
            drawn.get_pixel(grid.left(column) + 30, row.top + row.height / 2).0
        };
        assert_eq!(middle(0, 0), [200, 0, 0]);
        assert_eq!(middle(1, 0), [255; 3]);
        assert_eq!(middle(2, 1), [0, 0, 200]);
    }

    #[test]
    fn labels_headings_and_legend_get_room_and_no_more() {
        let bare = Sheet { columns: Vec::new(), ..sheet(&[]) };
        let labelled = Sheet { columns: Vec::new(), ..sheet(&["american bulldog", "97.1 %"]) };
        let headed = sheet(&[]);
        let legend = Legend {
            shading: Shading::Signed,
            ends: ["baseline sees more".to_owned(), "S-IB sees more".to_owned()],
        };
        let explained = Sheet { legends: vec![legend.clone()], ..bare.clone() };
        let twice = Sheet { legends: vec![legend.clone(), legend], ..bare.clone() };
        let (width, height) = bare.render().dimensions();
        let (labelled, headed) = (labelled.render(), headed.render());
        assert!(labelled.width() > width && labelled.width() <= width + 60 + 3);
        assert_eq!(labelled.height(), height);
        assert!(headed.height() > height && headed.width() == width);
        let explained = explained.render().height();
        assert!(explained > height);
        assert_eq!(twice.render().height() - explained, explained - height);
        // Something is written in the label's column.
        let ink = |image: &RgbImage, columns: std::ops::Range<u32>| {
            columns
                .flat_map(|x| (0..image.height()).map(move |y| (x, y)))
                .filter(|&(x, y)| image.get_pixel(x, y).0.iter().all(|&value| value < 100))
                .count()
        };
        assert!(ink(&labelled, 6..labelled.width() - width + 6) > 50);
        let no_rows = Sheet { rows: Vec::new(), ..bare };
        assert_eq!(no_rows.render().dimensions(), (12, 12));
    }

    #[test]
    fn text_that_does_not_fit_ends_in_an_ellipsis() {
        let text = Text::new(false, 12.0);
        let wrapped = text.wrap("an uncommonly long heading of many words", 70.0, 2);
        assert_eq!(wrapped.len(), 2);
        assert!(wrapped[1].ends_with('…'), "{wrapped:?}");
        assert!(wrapped.iter().all(|line| text.width(line) <= 70.0), "{wrapped:?}");
        assert_eq!(text.wrap("short", 70.0, 2), ["short"]);
        assert!(text.wrap("", 70.0, 2).is_empty());
    }
}
