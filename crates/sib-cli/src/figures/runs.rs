//! Finished training runs below a folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sib_core::Error;

use crate::csv_rows;
use crate::evaluation::network::StoredConfig;
use crate::run_dir::MetricRow;
use crate::tree;

/// A finished run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) path: PathBuf,
    pub(super) config: StoredConfig,
    pub(super) metrics: Vec<MetricRow>,
}

/// The finished runs in the folder at `root` and below it; those that are not finished are named on
/// stderr.
///
/// # Errors
/// When a folder or a run's file cannot be read.
pub(super) fn find(root: &Path) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for path in tree::folders(root)? {
        let [config, metrics, status] =
            ["config.toml", "metrics.csv", "status.toml"].map(|name| path.join(name));
        if !config.is_file() || !metrics.is_file() {
            continue;
        }
        if !status.is_file() {
            eprintln!("warning: {}: not finished, left out", path.display());
            continue;
        }
        let text = fs::read_to_string(&config).map_err(Error::io("read", &config))?;
        let config = toml::from_str(&text)
            .with_context(|| format!("{}: not a run's configuration", config.display()))?;
        runs.push(Run { config, metrics: csv_rows::read(&metrics)?, path });
    }
    Ok(runs)
}
