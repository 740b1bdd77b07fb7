//! A training run, as far as results are shown of it.

use std::path::Path;

use anyhow::Result;

use super::called::Called;
use crate::dotted::{Settings, flatten};
use crate::network::StoredConfig;
use crate::run::RunRecord;

/// A run, finished or not.
#[derive(Debug)]
pub struct Run {
    /// What its network is called.
    pub called: Called,
    /// What its folder holds.
    pub record: RunRecord,
    /// What its configuration says of the network.
    pub config: StoredConfig,
    /// All its settings.
    pub settings: Settings,
}

impl Run {
    /// Reads the folder at `path`.
    ///
    /// # Errors
    /// When a file of it cannot be read or is damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let record = RunRecord::read(path)?;
        let settings = flatten(&record.settings()?);
        let config: StoredConfig = record.settings()?;
        Ok(Self { called: config.training().into(), config, settings, record })
    }

    /// Whether it has come to its end.
    pub fn is_finished(&self) -> bool {
        self.record.status.is_some()
    }

    /// Name of its dataset; empty where it is not known.
    pub fn dataset(&self) -> &str {
        self.settings.get("data.name").map(String::as_str).unwrap_or_default()
    }
}
