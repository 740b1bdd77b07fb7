//! What a run ran on: versions, device, threads.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sib_core::device;
use tch::Device;

/// The facts that a result depends on besides its configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Environment {
    /// Version of this program.
    pub sib_cli: String,
    /// Version of libtorch that was built against.
    pub libtorch: String,
    /// Folder of the libtorch that is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub libtorch_folder: Option<PathBuf>,
    /// Device that the run used.
    pub device: String,
    /// Operating system and machine.
    pub platform: String,
    /// Cores that the process may use.
    pub cores: usize,
    /// Threads within one libtorch operation.
    pub threads: i32,
}

impl Environment {
    /// Asks the machine.
    pub fn of(device: Device) -> Self {
        Self {
            sib_cli: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: libtorch_version().unwrap_or_else(|| "unknown".to_owned()),
            libtorch_folder: device::libtorch_folder(),
            device: format!("{device:?}").to_lowercase(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: tch::get_num_threads(),
        }
    }

    /// As TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).context("cannot write the environment as TOML")
    }
}

/// Version of the libtorch that is loaded, from the file that its wheel or archive carries.
pub fn libtorch_version() -> Option<String> {
    let root = device::libtorch_folder()?.parent()?.to_owned();
    if let Ok(version) = std::fs::read_to_string(root.join("build-version")) {
        return Some(version.trim().to_owned());
    }
    let python = std::fs::read_to_string(root.join("version.py")).ok()?;
    let line = python.lines().find(|line| line.starts_with("__version__"))?;
    Some(line.split('\'').nth(1)?.to_owned())
}
