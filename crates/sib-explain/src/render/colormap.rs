//! Colour maps.

use std::fmt;
use std::str::FromStr;

use image::Rgb;
use serde::{Deserialize, Serialize};
use sib_core::{Error, Result};

/// Colours for values from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colormap {
    /// Rainbow with even steps: the most contrast.
    #[default]
    Turbo,
    /// Perceptually uniform, dark blue to yellow.
    Viridis,
    /// Perceptually uniform, black over red to pale yellow.
    Inferno,
    /// Perceptually uniform, black over purple to pale pink.
    Magma,
    /// Perceptually uniform, blue over purple to yellow.
    Plasma,
    /// Perceptually uniform, blue to yellow, the same to colour-blind eyes.
    Cividis,
    /// Black to white.
    Grey,
    /// Blue over white to red: for signed values, 0.5 is neutral.
    RedBlue,
}

impl Colormap {
    /// All colour maps.
    pub const ALL: [Self; 8] = [
        Self::Turbo,
        Self::Viridis,
        Self::Inferno,
        Self::Magma,
        Self::Plasma,
        Self::Cividis,
        Self::Grey,
        Self::RedBlue,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Turbo => "turbo",
            Self::Viridis => "viridis",
            Self::Inferno => "inferno",
            Self::Magma => "magma",
            Self::Plasma => "plasma",
            Self::Cividis => "cividis",
            Self::Grey => "grey",
            Self::RedBlue => "red-blue",
        }
    }

    /// The colour of `value`, clamped to `[0,1]`.
    pub fn color(self, value: f32) -> Rgb<u8> {
        let value = f64::from(value.clamp(0.0, 1.0));
        let color = match self {
            Self::Turbo => colorous::TURBO.eval_continuous(value),
            Self::Viridis => colorous::VIRIDIS.eval_continuous(value),
            Self::Inferno => colorous::INFERNO.eval_continuous(value),
            Self::Magma => colorous::MAGMA.eval_continuous(value),
            Self::Plasma => colorous::PLASMA.eval_continuous(value),
            Self::Cividis => colorous::CIVIDIS.eval_continuous(value),
            Self::Grey => colorous::GREYS.eval_continuous(1.0 - value),
            Self::RedBlue => colorous::RED_BLUE.eval_continuous(1.0 - value),
        };
        Rgb(color.into_array())
    }
}

impl fmt::Display for Colormap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Colormap {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|map| map.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::invalid("colormap", text, format!("one of {names}"))
        })
    }
}
