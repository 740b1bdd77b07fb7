//! A finished evaluation.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::called::Called;
use crate::csv_rows::{self, Records};
use crate::dotted::Settings;
use crate::evaluation::description::Description;
use crate::evaluation::files::{DESCRIPTION, PER_IMAGE, SUMMARY};
use crate::evaluation::identity;
use crate::evaluation::suite::Suite;
use crate::evaluation::summary_row::SummaryRow;

/// A finished evaluation.
#[derive(Debug)]
pub struct Evaluation {
    /// Its folder.
    pub path: PathBuf,
    /// What its network is called.
    pub called: Called,
    /// What it is of.
    pub description: Description,
    /// The rows of `summary.csv`.
    pub summary: Vec<SummaryRow>,
}

/// Whether `folder` is that of an evaluation.
pub(super) fn is_begun(folder: &Path) -> bool {
    folder.join(DESCRIPTION).is_file()
}

/// Whether `folder` is that of an evaluation that has come to its end.
pub(super) fn is_finished(folder: &Path) -> bool {
    is_begun(folder) && folder.join(SUMMARY).is_file()
}

impl Evaluation {
    /// Reads the folder at `path`.
    ///
    /// # Errors
    /// When a file of it cannot be read or is damaged; the error names it.
    pub fn read(path: &Path) -> Result<Self> {
        let description = Description::read(path)?;
        Ok(Self {
            path: path.to_owned(),
            called: description.network.training.into(),
            description,
            summary: csv_rows::read(&path.join(SUMMARY))?,
        })
    }

    /// Whether `suite` was measured.
    pub fn has(&self, suite: Suite) -> bool {
        self.summary.iter().any(|row| row.suite == suite.name())
    }

    /// All that its values of `suite` must share with others to stand beside them.
    ///
    /// # Errors
    /// When settings cannot be written as TOML.
    pub fn comparable(&self, suite: Suite) -> Result<Settings> {
        identity::comparable(&self.description, suite)
    }

    /// The rows of `per_image.csv`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn images(&self) -> Result<Records> {
        csv_rows::records(&self.path.join(PER_IMAGE))
    }
}
