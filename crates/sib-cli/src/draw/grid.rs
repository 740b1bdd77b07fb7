//! Pictures in rows and columns, with labels and colour bars.

use anyhow::Result;
use image::RgbImage;
use image::imageops::{self, FilterType};
use sib_explain::render::{Shading, Text};

use super::colour::INK;
use super::note::Note;
use super::panels::SINGLE_MM;
use super::raster;
use super::style::{SMALL_PT, TEXT_PT};
use super::svg::{Anchor, PT_PER_MM, Rect, Stroke, Svg, Type};

/// What stands in one place.
pub enum Cell {
    /// A square picture.
    Picture(RgbImage),
    /// A text, broken into lines.
    Words(String),
}

/// Cells beside one another.
pub struct Row {
    /// To their left, read from below.
    pub label: String,
    pub cells: Vec<Cell>,
    /// Whether it belongs to another group than the row above.
    pub starts_group: bool,
}

/// A row of colours from the lowest to the highest value.
pub struct ColourBar {
    /// What it is of.
    pub title: String,
    pub shading: Shading,
    /// The values at its two ends, in words or numbers.
    pub ends: [String; 2],
}

/// The figure.
pub struct Grid {
    /// Physical width, at most.
    pub width_mm: f64,
    /// Above the columns.
    pub titles: Vec<String>,
    pub rows: Vec<Row>,
    pub bars: Vec<ColourBar>,
}

/// Space for the labels of rows.
const LABELS: f64 = TEXT_PT + 4.0;
/// Between pictures, and between groups of rows.
const GAP: f64 = 2.0;
const GROUP_GAP: f64 = 7.0;
/// Side of a picture, at most: the figure must fit on a page.
const MOST_MM: f64 = 28.0;
/// A line of small text.
const LINE: f64 = SMALL_PT + 1.5;
/// Height of a colour bar, and what it takes with its labels.
const BAR: f64 = 5.0;
const BAR_BLOCK: f64 = BAR + 2.0 * LINE + 4.0;
/// Samples of a colour bar.
const BAR_COLOURS: u32 = 256;

impl Grid {
    /// The figure as an SVG document, over what its reader must know.
    ///
    /// # Errors
    /// When a picture cannot be encoded.
    pub fn to_svg(&self, note: &str) -> Result<String> {
        let columns = self.titles.len() as f64;
        // As wide as its pictures at their largest, but for what is written below them no narrower than a column.
        let widest = LABELS + columns * (MOST_MM * PT_PER_MM + GAP) - GAP;
        let most = self.width_mm * PT_PER_MM;
        let width = widest.clamp(most.min(SINGLE_MM * PT_PER_MM), most);
        let room = (width - LABELS - GAP * (columns - 1.0)) / columns;
        let side = room.min(MOST_MM * PT_PER_MM);
        // A few pictures stand in the middle of a column.
        let first = LABELS + columns * (room - side) / 2.0;
        let left = |column: usize| first + column as f64 * (side + GAP);
        let small = Text::with_font_size(false, SMALL_PT as f32);
        let titles: Vec<Vec<String>> =
            self.titles.iter().map(|title| small.wrap(title, side as f32, 2)).collect();
        let title_lines = titles.iter().map(Vec::len).max().unwrap_or_default();
        let above = title_lines as f64 * LINE + 2.0;
        let groups = self.rows.iter().skip(1).filter(|row| row.starts_group).count() as f64;
        let rows = self.rows.len() as f64;
        let bars_top = above + rows * (side + GAP) + groups * (GROUP_GAP - GAP) + 3.0;
        let note = Note::new(note, width);
        let note_top = bars_top + BAR_BLOCK;

        let mut svg = Svg::new(width, note_top + note.height());
        for (column, lines) in titles.iter().enumerate() {
            // The last line stands next to the pictures.
            let baseline = above - 3.5 - LINE * (lines.len() as f64 - 1.0);
            draw_lines(&mut svg, lines, (left(column) + side / 2.0, baseline));
        }
        let mut top = above;
        for (number, row) in self.rows.iter().enumerate() {
            if row.starts_group && number > 0 {
                top += GROUP_GAP - GAP;
            }
            let set = Type { upright: true, ..Type::new(TEXT_PT, Anchor::Middle) };
            svg.text((first - LABELS + TEXT_PT, top + side / 2.0), &set, &row.label);
            for (column, cell) in row.cells.iter().enumerate() {
                let area = Rect { x: left(column), y: top, width: side, height: side };
                match cell {
                    Cell::Picture(picture) => draw_picture(&mut svg, area, picture)?,
                    Cell::Words(words) => {
                        let lines = small.wrap(words, side as f32, 4);
                        draw_lines(&mut svg, &lines, (area.x + side / 2.0, top + LINE));
                    }
                }
            }
            top += side + GAP;
        }
        self.draw_bars(&mut svg, bars_top, width)?;
        note.draw(&mut svg, note_top);
        Ok(svg.finish())
    }

    fn draw_bars(&self, svg: &mut Svg, top: f64, width: f64) -> Result<()> {
        let each = (width - LABELS) / self.bars.len() as f64;
        for (number, bar) in self.bars.iter().enumerate() {
            let length = (each - 12.0).min(120.0);
            let middle = LABELS + (number as f64 + 0.5) * each;
            let area = Rect { x: middle - length / 2.0, y: top + LINE, width: length, height: BAR };
            let colours = RgbImage::from_fn(BAR_COLOURS, 1, |x, _| {
                bar.shading.color((x as f32 + 0.5) / BAR_COLOURS as f32)
            });
            svg.text(
                (middle, top + SMALL_PT - 1.0),
                &Type::new(SMALL_PT, Anchor::Middle),
                &bar.title,
            );
            svg.image(area, &raster::encode(&colours, None)?);
            svg.outline(area, &Stroke::solid(INK, 0.4));
            let below = area.bottom() + SMALL_PT + 0.5;
            let [low, high] = &bar.ends;
            svg.text((area.x, below), &Type::new(SMALL_PT, Anchor::Start), low);
            svg.text((area.right(), below), &Type::new(SMALL_PT, Anchor::End), high);
            if matches!(bar.shading, Shading::Signed | Shading::SignedWithin(_)) {
                svg.text((middle, below), &Type::new(SMALL_PT, Anchor::Middle), "0");
            }
        }
        Ok(())
    }
}

/// Centred lines; `at` is the middle of the first one's baseline.
fn draw_lines(svg: &mut Svg, lines: &[String], (x, y): (f64, f64)) {
    let set = Type::new(SMALL_PT, Anchor::Middle);
    for (number, line) in lines.iter().enumerate() {
        svg.text((x, y + number as f64 * LINE), &set, line);
    }
}

/// A picture with no more pixels than print shows.
fn draw_picture(svg: &mut Svg, area: Rect, picture: &RgbImage) -> Result<()> {
    let most = (area.width / 72.0 * f64::from(raster::DPI)).ceil() as u32;
    let png = if picture.width().max(picture.height()) > most {
        raster::encode(&imageops::resize(picture, most, most, FilterType::CatmullRom), None)?
    } else {
        raster::encode(picture, None)?
    };
    svg.image(area, &png);
    Ok(())
}
