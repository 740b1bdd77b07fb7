//! Contact sheets: a labelled grid of pictures.

use image::{Rgb, RgbImage, imageops};

use super::colormap::Colormap;
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
    /// Headings of the columns; none are drawn where all are empty.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<SheetRow>,
    /// Colour scale under the grid.
    pub legend: Option<Legend>,
    /// Width of a cell in pixels; pictures keep their aspect ratio and fill it.
    pub cell_px: u32,
}

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([20, 20, 20]);
const FAINT_INK: Rgb<u8> = Rgb([95, 95, 95]);

/// One line of a row's label.
struct LabelLine {
    text: String,
    is_first: bool,
}

/// Where everything goes, in pixels.
struct Layout {
    gap: u32,
    group_gap: u32,
    margin: u32,
    label_width: u32,
    heading_height: u32,
    row_heights: Vec<u32>,
    legend_height: u32,
}

impl Sheet {
    /// Draws the sheet on white, all sizes in proportion to [`Self::cell_px`].
    pub fn render(&self) -> RgbImage {
        let cell = self.cell_px.max(16);
        let line = (cell as f32 * 0.1).clamp(11.0, 40.0);
        let (bold, plain) = (Text::new(true, line), Text::new(false, line));
        let headings: Vec<Vec<String>> =
            self.columns.iter().map(|heading| bold.wrap(heading, cell as f32, 2)).collect();
        let labels: Vec<Vec<LabelLine>> =
            self.rows.iter().map(|row| wrap_label(row, &bold, &plain, cell)).collect();
        let cells: Vec<Vec<Option<RgbImage>>> = self
            .rows
            .iter()
            .map(|row| {
                row.cells.iter().map(|image| image.as_ref().map(|image| fit(image, cell))).collect()
            })
            .collect();
        let layout = self.layout(cell, line, &headings, &labels, &cells, &bold);

        let columns = self.columns.len().max(cells.iter().map(Vec::len).max().unwrap_or(0)) as u32;
        let left = layout.margin + layout.label_width;
        let width = left + columns * cell + columns.saturating_sub(1) * layout.gap + layout.margin;
        let groups = self.rows.iter().skip(1).filter(|row| row.starts_group).count() as u32;
        let height = 2 * layout.margin
            + layout.heading_height
            + layout.row_heights.iter().sum::<u32>()
            + (self.rows.len() as u32).saturating_sub(1) * layout.gap
            + groups * (layout.group_gap - layout.gap)
            + layout.legend_height;
        let mut sheet = RgbImage::from_pixel(width, height, PAPER);
        let column_x = |column: usize| left + column as u32 * (cell + layout.gap);

        for (column, lines) in headings.iter().enumerate() {
            let middle = column_x(column) as f32 + 0.5 * cell as f32;
            // Headings stand on the grid, whether they have one line or two.
            let top = layout.margin as f32 + layout.heading_height as f32
                - layout.gap as f32
                - lines.len() as f32 * line;
            for (i, text) in lines.iter().enumerate() {
                bold.draw(&mut sheet, text, (middle, top + i as f32 * line), Align::Centre, INK);
            }
        }

        let mut y = layout.margin + layout.heading_height;
        for (index, row) in self.rows.iter().enumerate() {
            if index > 0 {
                y += if row.starts_group { layout.group_gap } else { layout.gap };
            }
            let row_height = layout.row_heights[index];
            for (column, image) in cells[index].iter().enumerate() {
                if let Some(image) = image {
                    let top = y + (row_height - image.height()) / 2;
                    imageops::replace(&mut sheet, image, column_x(column).into(), top.into());
                }
            }
            let lines = &labels[index];
            let mut top = y as f32 + 0.5 * (row_height as f32 - lines.len() as f32 * line);
            let right = (left - layout.gap) as f32;
            for LabelLine { text, is_first } in lines {
                let (font, ink) = if *is_first { (&bold, INK) } else { (&plain, FAINT_INK) };
                font.draw(&mut sheet, text, (right, top), Align::Right, ink);
                top += line;
            }
            y += row_height;
        }

        if let Some(legend) = &self.legend {
            let top = y as f32 + layout.gap as f32 * 2.0;
            let grid = (left as f32, (width - layout.margin) as f32);
            draw_legend(&mut sheet, legend, &plain, line, top, grid);
        }
        sheet
    }

    fn layout(
        &self,
        cell: u32,
        line: f32,
        headings: &[Vec<String>],
        labels: &[Vec<LabelLine>],
        cells: &[Vec<Option<RgbImage>>],
        bold: &Text,
    ) -> Layout {
        let gap = (cell / 24).max(3);
        let heading_lines = headings.iter().map(Vec::len).max().unwrap_or(0);
        let heading_height =
            if heading_lines == 0 { 0 } else { (heading_lines as f32 * line).ceil() as u32 + gap };
        let widest = labels.iter().flatten().map(|line| bold.width(&line.text));
        let widest = widest.fold(0.0, f32::max).ceil() as u32;
        let label_width = if widest == 0 { 0 } else { widest + gap };
        let row_heights = labels
            .iter()
            .zip(cells)
            .map(|(lines, cells)| {
                let tallest = cells.iter().flatten().map(|image| image.height()).max();
                tallest.unwrap_or(0).max((lines.len() as f32 * line).ceil() as u32)
            })
            .collect();
        let legend_height =
            if self.legend.is_some() { (line * 1.2).ceil() as u32 + 2 * gap } else { 0 };
        Layout {
            gap,
            group_gap: 3 * gap,
            margin: 2 * gap,
            label_width,
            heading_height,
            row_heights,
            legend_height,
        }
    }
}

/// The most lines that one line of a label becomes.
const LABEL_LINES: usize = 3;

/// The lines of a label, at most as wide as a cell.
fn wrap_label(row: &SheetRow, bold: &Text, plain: &Text, cell: u32) -> Vec<LabelLine> {
    let lines = row.label.iter().enumerate().flat_map(|(i, line)| {
        let is_first = i == 0;
        let font = if is_first { bold } else { plain };
        let wrapped = font.wrap(line, cell as f32, LABEL_LINES);
        wrapped.into_iter().map(move |text| LabelLine { text, is_first })
    });
    lines.collect()
}

/// The picture at the width of a cell; a tall one is no taller than 1.5 cells.
fn fit(image: &RgbImage, cell: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let scale = (cell as f32 / width as f32).min(1.5 * cell as f32 / height as f32);
    let scaled = |length: u32| ((length as f32 * scale).round() as u32).max(1);
    let filter = if scale > 1.0 { imageops::CatmullRom } else { imageops::Lanczos3 };
    imageops::resize(image, scaled(width), scaled(height), filter)
}

/// A colour scale on the right under the grid, its meaning on either side.
fn draw_legend(
    sheet: &mut RgbImage,
    legend: &Legend,
    text: &Text,
    line: f32,
    top: f32,
    (left, right): (f32, f32),
) {
    let [low, high] = &legend.ends;
    let space = 0.5 * line;
    let text_width = text.width(low) + text.width(high) + 2.0 * space;
    let bar = ((right - left - text_width).max(line)).min(14.0 * line);
    text.draw(sheet, high, (right, top), Align::Right, FAINT_INK);
    let bar_right = right - text.width(high) - space;
    let bar_left = bar_right - bar;
    for x in bar_left as u32..bar_right as u32 {
        let value = (x as f32 + 0.5 - bar_left) / bar;
        let color = match legend.shading {
            Shading::Sequential(colormap) => colormap.color(value),
            Shading::Signed => Colormap::RedBlue.color(value),
        };
        for y in (top + 0.15 * line) as u32..(top + 0.85 * line) as u32 {
            if x < sheet.width() && y < sheet.height() {
                sheet.put_pixel(x, y, color);
            }
        }
    }
    text.draw(sheet, low, (bar_left - space, top), Align::Right, FAINT_INK);
}
