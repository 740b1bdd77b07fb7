//! The update that could not be made.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::folder::RunDir;

const FILE: &str = "failure.toml";

/// An update whose loss or gradient was not finite.
#[derive(Debug, Serialize)]
pub struct Failure<'a> {
    /// Its number, counted from 0.
    pub step: u64,
    /// Its epoch, counted from 0.
    pub epoch: u64,
    /// What was not finite.
    pub problem: String,
    /// Ids of its images, as far as it came.
    pub images: &'a [String],
}

impl Failure<'_> {
    /// Keeps it in the folder of `run`; returns the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, run: &RunDir) -> Result<PathBuf> {
        run.write(FILE, &toml::to_string_pretty(self).context("the failure as TOML")?)?;
        Ok(run.path().join(FILE))
    }

    /// Whether the run in `folder` ended with one.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(FILE).is_file()
    }
}
