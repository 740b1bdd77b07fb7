//! The folder of an evaluation.
//!
//! ```text
//! evaluation.toml   settings, network, dataset and environment
//! per_image.csv     one row an image and method, appended batch by batch
//! curve_sums.csv    suite faithfulness: sums of the curves of each batch, appended
//! information.csv   suite information: one row a batch, appended
//! curves.csv        suite faithfulness: mean insertion and deletion curves
//! summary.csv       one row a metric; written last, so that its presence means finished
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sib_core::Error;
use sib_core::checkpoint::write_atomic;
use sib_core::data::{DatasetName, Split};

use super::network::Network;
use super::settings::Settings;
use crate::environment::Environment;
use crate::error::with_hint;
use crate::folder_lock::FolderLock;

/// What `evaluation.toml` holds: the evaluation and what it is of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Description {
    /// What was asked for.
    pub settings: Settings,
    /// The network.
    pub network: Network,
    /// The images.
    pub dataset: DatasetFacts,
    /// What it ran on when it was begun.
    pub environment: Environment,
}

/// The images that are evaluated on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetFacts {
    /// Dataset.
    pub name: DatasetName,
    /// Part of it.
    pub split: Split,
    /// Its classes.
    pub classes: usize,
    /// Images of the split that are there.
    pub images_in_split: usize,
    /// Images that its lists name and that are not there.
    pub missing: usize,
    /// Images that are evaluated.
    pub images: usize,
}

/// Name of the file that describes an evaluation.
pub const DESCRIPTION: &str = "evaluation.toml";
/// Name of the file with a row an image and method.
pub const PER_IMAGE: &str = "per_image.csv";
/// Name of the file with sums of curves.
pub const CURVE_SUMS: &str = "curve_sums.csv";
/// Name of the file with region information.
pub const INFORMATION: &str = "information.csv";
/// Name of the file with mean curves.
pub const CURVES: &str = "curves.csv";
/// Name of the file with a row a metric.
pub const SUMMARY: &str = "summary.csv";

impl Description {
    /// Reads `evaluation.toml` of the folder at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or was written by a version with other settings.
    pub fn read(path: &Path) -> Result<Self> {
        let file = path.join(DESCRIPTION);
        let text = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
        toml::from_str(&text).map_err(|error| {
            let problem = anyhow::anyhow!("{}: {}", file.display(), error.message());
            with_hint(problem, "it was written by another version; give another --output")
        })
    }
}

/// An evaluation's folder, held by this process alone.
#[derive(Debug)]
pub struct EvaluationDir {
    path: PathBuf,
    _lock: FolderLock,
}

impl EvaluationDir {
    /// A new folder at `path`, or that of the same evaluation, begun before.
    ///
    /// # Errors
    /// When another process holds it, it holds something else, or another evaluation.
    pub fn open(path: &Path, description: &Description) -> Result<Self> {
        let begun = path.join(DESCRIPTION).exists();
        // A process that was killed may have left its lock and a draft of the first file.
        let foreign = |entry: fs::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
        let holds_something = fs::read_dir(path)
            .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(foreign)));
        if !begun && holds_something {
            let error = anyhow::anyhow!(
                "{}: neither empty nor the folder of an evaluation",
                path.display()
            );
            return Err(with_hint(error, "give another --output"));
        }
        fs::create_dir_all(path).map_err(Error::io("create", path))?;
        let folder = Self { path: path.to_owned(), _lock: FolderLock::hold(path)? };
        if begun {
            Description::read(path)?.settings.expect_same(&description.settings)?;
        } else {
            let text = toml::to_string_pretty(description)
                .context("cannot write the evaluation's settings as TOML")?;
            folder.write(DESCRIPTION, text.as_bytes())?;
        }
        Ok(folder)
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file of the folder atomically.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        Ok(write_atomic(&self.file(name), |file| file.write_all(content))?)
    }
}
