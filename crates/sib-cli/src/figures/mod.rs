//! The paper's figures from run folders: what they show, drawn with [`crate::draw`].

pub mod comparison;
pub mod estimator;
mod heatmaps;
mod information_per_epoch;
mod notes;
mod palette;
mod region_information;

use anyhow::Result;
use comparison::Selection;
use estimator::Shown;

use crate::left_out::LeftOut;
use crate::results::Folders;

/// Which of the paper's figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Figure {
    /// Information per epoch.
    OneA(Shown),
    /// Heatmaps before and after, one column of print wide.
    OneB(Selection),
    /// Heatmaps before and after with their difference.
    Three(Selection),
    /// Heatmaps before and after of several methods.
    Four(Selection),
    /// Region information.
    Five(Shown),
}

/// A figure whose note is still to be placed.
pub struct Drawn {
    /// What its reader must know.
    pub note: String,
    over: Over,
}

/// Draws a figure as SVG over a note.
type Over = Box<dyn Fn(&str) -> Result<String>>;

impl Drawn {
    /// The figure as SVG, over its note.
    ///
    /// # Errors
    /// When a picture in it cannot be encoded.
    pub fn with_note(&self) -> Result<String> {
        (self.over)(&self.note)
    }

    /// The figure as SVG alone.
    ///
    /// # Errors
    /// As [`Self::with_note`].
    pub fn without_note(&self) -> Result<String> {
        (self.over)("")
    }
}

impl Figure {
    /// The figure from what lies in `folders`; what of it cannot be read is in `left_out`.
    ///
    /// # Errors
    /// When nothing there can be drawn, or cannot be compared.
    pub fn draw(&self, folders: &Folders, left_out: &mut LeftOut) -> Result<Drawn> {
        match self {
            Self::OneA(shown) => information_per_epoch::draw(folders, *shown, left_out),
            Self::OneB(selection) => heatmaps::draw_methods(folders, selection, true, left_out),
            Self::Three(selection) => heatmaps::draw_differences(folders, selection, left_out),
            Self::Four(selection) => heatmaps::draw_methods(folders, selection, false, left_out),
            Self::Five(shown) => region_information::draw(folders, *shown, left_out),
        }
    }
}
