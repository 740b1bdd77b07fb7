//! The paper's figures from run folders: what they show, drawn with [`crate::draw`].

pub mod comparison;
pub mod estimator;
mod heatmaps;
mod information_per_epoch;
mod notes;
mod palette;
mod region_information;

use std::path::Path;

use anyhow::Result;
use comparison::Selection;
use estimator::Estimator;

use crate::left_out::LeftOut;

/// Which of the paper's figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Figure {
    /// Information per epoch.
    OneA(Estimator),
    /// Heatmaps before and after, one column of print wide.
    OneB(Selection),
    /// Heatmaps before and after with their difference.
    Three(Selection),
    /// Heatmaps before and after of several methods.
    Four(Selection),
    /// Region information.
    Five(Estimator),
}

impl Figure {
    /// The figure as SVG, from what lies in the folder at `runs` and below it; what of it cannot be
    /// read is in `left_out`.
    ///
    /// # Errors
    /// When nothing there can be drawn, or cannot be compared.
    pub fn draw(&self, runs: &Path, left_out: &mut LeftOut) -> Result<String> {
        match self {
            Self::OneA(estimator) => information_per_epoch::draw(runs, *estimator, left_out),
            Self::OneB(selection) => heatmaps::draw_methods(runs, selection, true, left_out),
            Self::Three(selection) => heatmaps::draw_differences(runs, selection, left_out),
            Self::Four(selection) => heatmaps::draw_methods(runs, selection, false, left_out),
            Self::Five(estimator) => region_information::draw(runs, *estimator, left_out),
        }
    }
}
