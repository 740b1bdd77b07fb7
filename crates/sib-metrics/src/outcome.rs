//! Why a metric may have no value for an image.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value, or why this image has none.
pub type Outcome<T> = std::result::Result<T, Exclusion>;

/// Why a metric is not defined for an image. The names are those of the CSV files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// The heatmap holds NaN or an infinity.
    NonFiniteHeatmap,
    /// The heatmap has one value only, so it ranks no pixel above another.
    FlatHeatmap,
    /// No pixel, or no box, of the object is left in the image.
    EmptyGroundTruth,
}

impl Exclusion {
    /// The name in CSV files, which is also that of serde.
    pub fn name(self) -> &'static str {
        match self {
            Self::NonFiniteHeatmap => "non_finite_heatmap",
            Self::FlatHeatmap => "flat_heatmap",
            Self::EmptyGroundTruth => "empty_ground_truth",
        }
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
