//! A run's folder as it was left, read without taking hold of it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::de::DeserializeOwned;
use sib_core::{Error, plain_file};

use super::failure::Failure;
use super::folder::{CONFIG, ENVIRONMENT};
use super::metrics::{MetricRow, read_metrics};
use super::status::Status;
use super::toml_file;
use crate::environment::Environment;

/// What a run was set to and what it came to, or has come to so far.
#[derive(Debug)]
pub struct RunRecord {
    /// The folder.
    pub path: PathBuf,
    /// `config.toml`.
    pub config: String,
    /// `environment.toml`.
    pub environment: Environment,
    /// None of a run that has not ended.
    pub status: Option<Status>,
    /// Whether it ended with a loss that is not finite.
    pub failed: bool,
    /// `metrics.csv`.
    pub metrics: Vec<MetricRow>,
}

impl RunRecord {
    /// Whether `folder` is that of a run.
    pub fn is_at(folder: &Path) -> bool {
        folder.join(CONFIG).is_file() && folder.join(ENVIRONMENT).is_file()
    }

    /// Reads the folder at `path`.
    ///
    /// # Errors
    /// When a file of it cannot be read or is damaged; the error names it.
    pub fn read(path: &Path) -> Result<Self> {
        let config = path.join(CONFIG);
        Ok(Self {
            path: path.to_owned(),
            config: plain_file::read_to_string(&config).map_err(Error::io("read", &config))?,
            environment: toml_file::read(&path.join(ENVIRONMENT))?,
            status: Status::read(path)?,
            failed: Failure::is_in(path),
            metrics: read_metrics(path)?,
        })
    }

    /// What `config.toml` says, as far as `T` asks.
    ///
    /// # Errors
    /// When it is not TOML or not a `T`; the error names the file and the line.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T> {
        toml_file::parse(&self.config, &self.path.join(CONFIG))
    }
}
