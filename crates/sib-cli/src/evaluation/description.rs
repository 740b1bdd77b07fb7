//! What an evaluation is of, as `evaluation.toml` holds it.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sib_core::data::{BBox, Dataset, Record, Split};
use sib_core::{Error, plain_file};

use super::files::DESCRIPTION;
use super::settings::Settings;
use crate::dotted;
use crate::environment::Environment;
use crate::network::Network;

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
        let text = plain_file::read_to_string(&file).map_err(Error::io("read", &file))?;
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
