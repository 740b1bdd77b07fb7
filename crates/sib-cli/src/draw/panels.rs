//! A page of plots with the legend that they share.

use anyhow::{Result, bail};

use super::colour::Colour;
use super::label;
use super::note::Note;
use super::plot::{self, Place};
use super::style::{Style, TEXT_PT};
use super::svg::{Anchor, PT_PER_MM, Rect, Stroke, Svg, Type};

/// How a series is recognised in the legend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Key {
    /// By its line and marker.
    Line(Style),
    /// By its filling.
    Box {
        /// Of the outline.
        colour: Colour,
        /// Of the filling.
        fill: Colour,
    },
}

/// A plot that knows how to draw itself.
pub trait Panel {
    /// Whether anything would be drawn.
    fn has_data(&self) -> bool;
    /// Its series by name.
    fn legend(&self) -> Vec<(String, Key)>;
    /// Space that it needs to the left of its axes, in points.
    fn left_space(&self) -> f64;
    /// Space that it needs below its axes.
    fn space_below(&self) -> f64;
    /// Draws it.
    fn draw(&self, svg: &mut Svg, place: &Place);
}

/// Plots in rows, a legend of all their series, and a note.
pub struct Page<'p> {
    /// Physical width.
    pub width_mm: f64,
    /// Plots of a row.
    pub columns: usize,
    /// The plots, row by row.
    pub panels: Vec<&'p dyn Panel>,
    /// What the reader must know, below everything.
    pub note: Option<String>,
}

/// Height of the axes as a share of their width.
const ASPECT: f64 = 0.6;
/// Between the rows of panels, and what stands below them.
const GAP: f64 = 5.0;
/// A line of the legend.
const LEGEND_LINE: f64 = TEXT_PT + 3.5;
/// Width of a sample in the legend, and what follows it.
const SAMPLE: f64 = 18.0;
const AFTER_SAMPLE: f64 = 3.5;
const AFTER_ENTRY: f64 = 10.0;

/// Width of one column of print, and of two.
pub const SINGLE_MM: f64 = 85.0;
pub const DOUBLE_MM: f64 = 175.0;

impl<'p> Page<'p> {
    /// As wide as one column of print, or as two where there are several panels.
    pub fn of(panels: Vec<&'p dyn Panel>, note: String) -> Self {
        let (width_mm, columns) = match panels.len() {
            1 => (SINGLE_MM, 1),
            2 | 4 => (DOUBLE_MM, 2),
            _ => (DOUBLE_MM, 3),
        };
        Self { width_mm, columns, panels, note: Some(note) }
    }

    /// The page as an SVG document.
    ///
    /// # Errors
    /// When no panel has a value to draw.
    pub fn to_svg(&self) -> Result<String> {
        if !self.panels.iter().any(|panel| panel.has_data()) {
            bail!("no value to draw");
        }
        let width = self.width_mm * PT_PER_MM;
        let panels: Vec<_> = self.panels.iter().filter(|panel| panel.has_data()).collect();
        let columns = self.columns.clamp(1, panels.len());
        let legend = Legend::new(self.entries(), width);
        let note = self.note.as_deref().unwrap_or_default();
        let note = Note::new(note, width);

        // The names of the y axes stand in the first column only.
        let left = panels.iter().map(|panel| panel.left_space()).fold(0.0, f64::max);
        let lefts = |column: usize| if column == 0 { left } else { left - plot::NAME };
        let taken: f64 = (0..columns).map(|column| lefts(column) + plot::RIGHT).sum();
        let inner = (width - taken) / columns as f64;
        let space_below = panels.iter().map(|panel| panel.space_below()).fold(0.0, f64::max);
        let row_height = inner * ASPECT + plot::ABOVE + space_below;
        let below = row_height * panels.len().div_ceil(columns) as f64;
        let note_top = below + GAP + legend.height();

        let mut svg = Svg::new(width, note_top + note.height());
        for (index, panel) in panels.iter().enumerate() {
            let (row, column) = (index / columns, index % columns);
            let x: f64 = (0..column).map(|column| lefts(column) + inner + plot::RIGHT).sum();
            let outer = Rect {
                x,
                y: row as f64 * row_height,
                width: lefts(column) + inner + plot::RIGHT,
                height: row_height,
            };
            let names = (index + columns >= panels.len(), column == 0);
            let place = Place { outer, left: lefts(column), below: space_below, names };
            panel.draw(&mut svg, &place);
        }
        legend.draw(&mut svg, below + GAP, width);
        note.draw(&mut svg, note_top);
        Ok(svg.finish())
    }

    /// The series of all panels, each once.
    fn entries(&self) -> Vec<(String, Key)> {
        let mut entries: Vec<(String, Key)> = Vec::new();
        for entry in self.panels.iter().flat_map(|panel| panel.legend()) {
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        entries
    }
}

/// The entries of the legend in columns of one width.
struct Legend {
    entries: Vec<(String, Key)>,
    columns: usize,
    cell: f64,
}

impl Legend {
    fn new(entries: Vec<(String, Key)>, width: f64) -> Self {
        let widths = entries.iter().map(|(name, _)| label::width(name, TEXT_PT, false));
        let cell = widths.fold(0.0, f64::max) + SAMPLE + AFTER_SAMPLE + AFTER_ENTRY;
        let fitting = ((width + AFTER_ENTRY) / cell) as usize;
        let rows = entries.len().div_ceil(fitting.max(1)).max(1);
        Self { columns: entries.len().div_ceil(rows).max(1), entries, cell }
    }

    fn height(&self) -> f64 {
        self.entries.len().div_ceil(self.columns) as f64 * LEGEND_LINE + GAP
    }

    fn draw(&self, svg: &mut Svg, top: f64, width: f64) {
        let left = ((width - self.columns as f64 * self.cell + AFTER_ENTRY) / 2.0).max(0.0);
        for (index, (name, key)) in self.entries.iter().enumerate() {
            let x = left + (index % self.columns) as f64 * self.cell;
            let middle = top + (index / self.columns) as f64 * LEGEND_LINE + TEXT_PT / 2.0;
            match key {
                Key::Line(style) => {
                    svg.polyline(&[(x, middle), (x + SAMPLE, middle)], &style.stroke());
                    style.mark(svg, (x + SAMPLE / 2.0, middle));
                }
                Key::Box { colour, fill } => {
                    let (width, height) = (0.6 * SAMPLE, 0.75 * TEXT_PT);
                    let area =
                        Rect { x: x + SAMPLE - width, y: middle - height / 2.0, width, height };
                    svg.rect(area, (*fill).into(), Some(&Stroke::solid(*colour, 0.7)));
                }
            }
            let at = (x + SAMPLE + AFTER_SAMPLE, middle + 0.36 * TEXT_PT);
            svg.text(at, &Type::new(TEXT_PT, Anchor::Start), name);
        }
    }
}
