//! A run's folder as it was left, read without taking hold of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::de::DeserializeOwned;
use sib_core::Error;

use crate::environment::Environment;
use crate::run_dir::{MetricRow, Status, read_metrics};

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
        folder.join("config.toml").is_file() && folder.join("environment.toml").is_file()
    }

    /// Reads the folder at `path`.
    ///
    /// # Errors
    /// When a file of it cannot be read or is damaged; the error names it.
    pub fn read(path: &Path) -> Result<Self> {
        let [config, status, metrics] =
            ["config.toml", "status.toml", "metrics.csv"].map(|name| path.join(name));
        Ok(Self {
            path: path.to_owned(),
            config: fs::read_to_string(&config).map_err(Error::io("read", &config))?,
            environment: read_toml(&path.join("environment.toml"))?,
            status: status.is_file().then(|| read_toml(&status)).transpose()?,
            failed: path.join("failure.toml").is_file(),
            metrics: read_metrics(&metrics)?,
        })
    }

    /// What `config.toml` says, as far as `T` asks.
    ///
    /// # Errors
    /// When it is not TOML or not a `T`; the error names the file and the line.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T> {
        parse(&self.config, &self.path.join("config.toml"))
    }
}

fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse(&fs::read_to_string(path).map_err(Error::io("read", path))?, path)
}

fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    match toml::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) => {
            let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
            let line = 1 + before.matches('\n').count();
            bail!("{}: line {line}: {}", path.display(), error.message())
        }
    }
}
