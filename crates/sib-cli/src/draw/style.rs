//! How series and text are set: sizes of type, and markers of a shape of their own.

use super::colour::{Colour, Dash, PALETTE, PAPER};
use super::svg::{Fill, Stroke, Svg};

/// Font size of labels, titles and legends in points, and that of ticks and notes.
pub const TEXT_PT: f64 = 7.0;
/// Font size of ticks, values and notes in points.
pub const SMALL_PT: f64 = 6.0;

/// The shape of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// ●
    Circle,
    /// ■
    Square,
    /// ▲
    Triangle,
    /// ◆
    Diamond,
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Colour of line and markers.
    pub colour: Colour,
    /// Dashes of the line.
    pub dash: Dash,
    /// Shape of the markers.
    pub shape: Shape,
    /// Markers are outlines rather than filled.
    pub open: bool,
}

impl Style {
    /// The style of the series number `index`: all of the first 24 differ in more than colour or are
    /// of different colours.
    pub fn nth(index: usize) -> Self {
        let shapes = [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond];
        let dashes = [Dash::Solid, Dash::Dashed, Dash::Dotted];
        let round = index / PALETTE.len();
        Self {
            colour: PALETTE[index % PALETTE.len()],
            dash: dashes[round % dashes.len()],
            shape: shapes[(index + round) % shapes.len()],
            open: round % 2 == 1,
        }
    }

    /// Its line.
    pub fn stroke(&self) -> Stroke {
        Stroke { colour: self.colour, width: 1.0, dash: self.dash }
    }

    /// One marker.
    pub fn mark(&self, svg: &mut Svg, (x, y): (f64, f64)) {
        let fill = Fill::from(if self.open { PAPER } else { self.colour });
        let outline = Stroke::solid(self.colour, 0.8);
        let mut shape = |corners: &[(f64, f64)]| {
            let corners: Vec<_> = corners.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
            svg.polygon(&corners, fill, Some(&outline));
        };
        match self.shape {
            Shape::Circle => svg.circle((x, y), 1.5, fill, &outline),
            Shape::Square => shape(&[(-1.35, -1.35), (1.35, -1.35), (1.35, 1.35), (-1.35, 1.35)]),
            Shape::Triangle => shape(&[(0.0, -1.9), (1.75, 1.25), (-1.75, 1.25)]),
            Shape::Diamond => shape(&[(0.0, -2.0), (1.8, 0.0), (0.0, 2.0), (-1.8, 0.0)]),
        }
    }
}
