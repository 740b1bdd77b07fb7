//! Colours and dashes that are told apart by everyone, also in grey.

use std::fmt;

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
    Alternating,
}

impl Dash {
    /// Lengths of dashes and gaps in points.
    pub fn pattern(self) -> Option<&'static str> {
        match self {
            Self::Solid => None,
            Self::Dashed => Some("4 2"),
            Self::Dotted => Some("1 1.6"),
            Self::Alternating => Some("4 1.6 1 1.6"),
        }
    }
}
