//! Colours, dashes and markers that are told apart by everyone, also in grey.

use std::fmt;

use super::svg::{Fill, Stroke, Svg};

/// Font size of labels, titles and legends in points, and that of ticks and notes.
pub const TEXT_PT: f64 = 7.0;
/// Font size of ticks, values and notes in points.
pub const SMALL_PT: f64 = 6.0;

/// An sRGB colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

/// Text and axes.
pub const INK: Colour = Colour(0x22, 0x22, 0x22);
/// Notes.
pub const GREY: Colour = Colour(0x66, 0x66, 0x66);
/// Lines to read values by.
pub const GRID: Colour = Colour(0xe4, 0xe4, 0xe4);
/// The page.
pub const PAPER: Colour = Colour(0xff, 0xff, 0xff);

/// The palette of Okabe and Ito (2008) without black and its yellow, which is too light for lines.
pub const PALETTE: [Colour; 6] = [
    Colour(0x00, 0x72, 0xb2),
    Colour(0xd5, 0x5e, 0x00),
    Colour(0x00, 0x9e, 0x73),
    Colour(0xcc, 0x79, 0xa7),
    Colour(0xe6, 0x9f, 0x00),
    Colour(0x56, 0xb4, 0xe9),
];

/// Lines of one dash that colour alone tells apart.
pub const COLOURS: usize = PALETTE.len();

impl Colour {
    /// Mixed with white: 0 is white, 1 the colour itself.
    pub fn tint(self, share: f64) -> Self {
        let mix = |value: u8| (255.0 - share * (255.0 - f64::from(value))).round() as u8;
        Self(mix(self.0), mix(self.1), mix(self.2))
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(red, green, blue) = self;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

/// How a line is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dash {
    /// Not.
    Solid,
    /// Into dashes.
    Dashed,
    /// Into dots.
    Dotted,
    /// Into dashes and dots in turn.
    DashDotted,
}

impl Dash {
    /// Lengths of dashes and gaps in points.
    pub fn pattern(self) -> Option<&'static str> {
        match self {
            Self::Solid => None,
            Self::Dashed => Some("4 2"),
            Self::Dotted => Some("1 1.6"),
            Self::DashDotted => Some("4 1.6 1 1.6"),
        }
    }
}

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
