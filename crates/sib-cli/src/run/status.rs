//! What a run ended with.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sib_core::Error;

use super::folder::RunDir;
use super::toml_file;

/// Written last: its presence means that the run has ended.
const FILE: &str = "status.toml";

/// What a finished run ended with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// `finished` or `stopped early`.
    pub state: String,
    /// Epochs trained.
    pub epochs: u64,
    /// Updates made.
    pub steps: u64,
    /// Wall-clock seconds of all processes of this run, as far as they were saved.
    pub seconds: f64,
    /// Last value of each metric of the test split.
    pub test: BTreeMap<String, f64>,
}

impl Status {
    /// That of the run in `folder`; none while it has not ended.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        path.is_file().then(|| toml_file::read(&path)).transpose()
    }

    /// Says that `run` has ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, run: &RunDir) -> Result<()> {
        run.write(FILE, &toml::to_string_pretty(self).context("the status as TOML")?)
    }

    /// Says that `run` has not ended.
    ///
    /// # Errors
    /// When it said otherwise and that cannot be removed.
    pub fn remove(run: &RunDir) -> Result<()> {
        let path = run.path().join(FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", &path)(error).into())
            }
            _ => Ok(()),
        }
    }
}
