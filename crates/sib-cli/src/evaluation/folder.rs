//! The folder of an evaluation.
//!
//! ```text
//! evaluation.toml   settings, network, dataset and environment
//! per_image.csv     one row an image and method, appended batch by batch; it holds digests of the
//!                   files that were read, and rows of files that could not be used are measured
//!                   again when these are mended
//! curve_sums.csv    suite faithfulness: sums of the curves of each batch, appended
//! information.csv   suite information: one row a batch, appended
//! curves.csv        suite faithfulness: mean insertion and deletion curves
//! summary.csv       one row a metric; written last, so that its presence means finished
//! ```

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sib_core::Error;
use sib_core::checkpoint::write_atomic;
use sib_core::data::{BBox, Dataset, Record, Split};

use super::identity;
use super::settings::Settings;
use crate::dotted;
use crate::environment::Environment;
use crate::error::with_hint;
use crate::network::Network;
use crate::run::FolderLock;

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
    pub name: String,
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
    /// SHA-256 of their ids, labels and kinds of annotation, in order; none in files of a version
    /// that did not write it.
    #[serde(default)]
    pub images_sha256: String,
}

/// Name of the file that describes an evaluation.
pub const DESCRIPTION: &str = "evaluation.toml";
/// Name of the file with a row an image and method.
pub const PER_IMAGE: &str = "per_image.csv";
/// Name of the file with mean curves.
pub const CURVES: &str = "curves.csv";
/// Name of the file with a row a metric.
pub const SUMMARY: &str = "summary.csv";

impl DatasetFacts {
    /// Of what is left of a split of `images_in_split` images.
    pub fn of(dataset: &Dataset, images_in_split: usize) -> Self {
        let mut digest = Sha256::new();
        for Record { id, label, boxes, mask, .. } in &dataset.records {
            let boxes: Vec<String> = boxes.iter().map(edges).collect();
            let boxes = boxes.join(", ");
            digest.update(format!("{id}\t{label}\t[{boxes}]\t{}\n", mask.is_some()));
        }
        Self {
            name: dataset.name.clone(),
            split: dataset.split,
            classes: dataset.classes.len(),
            images_in_split,
            missing: dataset.missing.len(),
            images: dataset.records.len(),
            images_sha256: format!("{:x}", digest.finalize()),
        }
    }
}

impl Description {
    /// Reads `evaluation.toml` of the folder at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or was written by a version with other settings.
    pub fn read(path: &Path) -> Result<Self> {
        let file = path.join(DESCRIPTION);
        let text = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
        let other =
            |problem: &str| anyhow::anyhow!("{}: not of this version: {problem}", file.display());
        let description: Self = toml::from_str(&text).map_err(|error| other(error.message()))?;
        let written: toml::Table = toml::from_str(&text).map_err(|error| other(error.message()))?;
        let known = dotted::of(&description.settings, "settings.")?;
        let settings = written.get("settings").and_then(toml::Value::as_table);
        for key in settings
            .map(|table| dotted::of(table, "settings."))
            .transpose()?
            .unwrap_or_default()
            .keys()
        {
            if !known.contains_key(key) {
                return Err(other(&format!("unknown setting {key}")));
            }
        }
        Ok(description)
    }
}

/// A box as it enters the digest, in the words of all versions so far.
fn edges(BBox { x0, y0, x1, y1 }: &BBox) -> String {
    // Of an f32, `{:?}` has the point that `{}` leaves out of whole numbers.
    format!("BBox {{ x0: {x0:?}, y0: {y0:?}, x1: {x1:?}, y1: {y1:?} }}")
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
            let before = Description::read(path)
                .map_err(|error| with_hint(error, "give another --output"))?;
            match identity::expect_same(&before, description) {
                // Begun, but refused by its first batch: nothing would be mixed.
                Err(_) if folder.is_without_rows()? => folder.describe(description)?,
                other => other?,
            }
        } else {
            folder.describe(description)?;
        }
        Ok(folder)
    }

    /// Whether no image has been measured yet.
    fn is_without_rows(&self) -> Result<bool> {
        let path = self.file(PER_IMAGE);
        if !path.exists() {
            return Ok(true);
        }
        let file = File::open(&path).map_err(Error::io("read", &path))?;
        let second = BufReader::new(file).lines().nth(1).transpose();
        Ok(second.map_err(Error::io("read", &path))?.is_none())
    }

    fn describe(&self, description: &Description) -> Result<()> {
        let text = toml::to_string_pretty(description)
            .context("cannot write the evaluation's settings as TOML")?;
        self.write(DESCRIPTION, text.as_bytes())
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Removes what only a finished evaluation has.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn reopen(&self) -> Result<()> {
        for name in [SUMMARY, CURVES] {
            let file = self.file(name);
            if file.is_file() {
                fs::remove_file(&file).map_err(Error::io("remove", &file))?;
            }
        }
        Ok(())
    }

    /// Writes a file of the folder atomically.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        Ok(write_atomic(&self.file(name), |file| file.write_all(content))?)
    }
}
