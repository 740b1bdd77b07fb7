//! The suites: groups of metrics that are measured together. Each file holds one whole: its columns,
//! what it measures of a batch, what its rows come to, what its numbers depend on, and its arguments.

pub mod accuracy;
pub mod comparison;
mod curves;
mod definition;
pub mod faithfulness;
pub mod information;
pub mod localization;
pub mod sanity;

use super::suite::Suite;

pub use curves::{CurvePoint, PATHS};
pub use definition::{
    Definition, Explained, Finished, Identity, Log, Logged, Measure, Opening, Scores,
};

impl Suite {
    /// What it is.
    pub fn definition(self) -> &'static dyn Definition {
        match self {
            Self::Accuracy => &accuracy::Accuracy,
            Self::Localization => &localization::Localization,
            Self::Faithfulness => &faithfulness::Faithfulness,
            Self::Information => &information::Information,
            Self::Sanity => &sanity::Sanity,
        }
    }

    /// Whether it scores heatmaps.
    pub fn needs_heatmaps(self) -> bool {
        self.definition().needs_heatmaps()
    }
}
