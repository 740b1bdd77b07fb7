//! `manifest.csv`: one row an image, method and network.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sib_core::Error;
use sib_explain::Method;

use crate::csv_rows;
use crate::foreign_text::for_spreadsheet;

/// Name of the file.
pub const MANIFEST: &str = "manifest.csv";

/// Which network a heatmap is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// The one that is explained.
    Checkpoint,
    /// The one that it is compared with.
    Baseline,
}

impl Which {
    /// What follows the method in names of files.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Checkpoint => "",
            Self::Baseline => ".baseline",
        }
    }
}

/// The columns, also where there is no row.
const COLUMNS: [&str; 11] = [
    "image",
    "method",
    "checkpoint",
    "target_index",
    "target_name",
    "probability",
    "min",
    "max",
    "flat",
    "completeness_error",
    "seconds",
];

/// One heatmap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Path of the image, as it was named.
    pub image: String,
    /// What made the heatmap.
    pub method: Method,
    /// Of which network.
    pub checkpoint: Which,
    /// The class that is explained.
    pub target_index: i64,
    /// Its name.
    pub target_name: String,
    /// Its probability.
    pub probability: f32,
    /// Lowest value of the heatmap.
    pub min: f32,
    /// Highest value.
    pub max: f32,
    /// Whether they are equal.
    pub flat: bool,
    /// Of methods that have one.
    pub completeness_error: Option<f32>,
    /// Wall-clock seconds an image.
    pub seconds: f64,
}

/// The file in the making.
#[derive(Debug)]
pub struct Manifest {
    csv: csv::Writer<File>,
    path: PathBuf,
}

impl Manifest {
    /// A new file in `folder`, in place of a former one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let file = new_file(&path).map_err(Error::io("create", &path))?;
        let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(file);
        csv.write_record(COLUMNS).with_context(|| cannot_write(&path))?;
        Ok(Self { csv, path })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When it cannot be written; so for [`Self::finish`].
    pub fn push(&mut self, mut row: Row) -> Result<()> {
        row.target_name = for_spreadsheet(&row.target_name).into_owned();
        self.csv.serialize(row).with_context(|| cannot_write(&self.path))
    }

    /// Hands everything to the disk: `explanation.toml` will say that it is there.
    pub fn finish(mut self) -> Result<()> {
        let written = self.csv.flush().and_then(|()| self.csv.get_ref().sync_data());
        Ok(written.map_err(Error::io("write", &self.path))?)
    }
}

/// A new file, and no former one that others may have linked to.
fn new_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => File::create_new(path),
    }
}

fn cannot_write(path: &Path) -> String {
    format!("{}: cannot write", path.display())
}

/// The rows of the manifest in `folder`.
///
/// # Errors
/// When it cannot be read or is damaged.
pub fn read(folder: &Path) -> Result<Vec<Row>> {
    csv_rows::read(&folder.join(MANIFEST))
}
