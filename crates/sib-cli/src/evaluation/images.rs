//! The images that are evaluated on.

use std::path::Path;

use anyhow::{Result, bail};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sib_core::data::{self, DataOptions, Dataset, DatasetName, Split, SyntheticOptions};

use crate::checkpoint::Checkpoint;
use crate::error::usage;

/// Which images.
#[derive(Debug)]
pub struct Images<'a> {
    /// Dataset.
    pub data: DatasetName,
    /// Folder of the unpacked archive; none for `synthetic`.
    pub root: Option<&'a Path>,
    /// Part of the dataset.
    pub split: Split,
    /// Go on without images that the split files name and that are not there.
    pub allow_missing: bool,
    /// Settings of `synthetic`.
    pub synthetic: Option<&'a SyntheticOptions>,
}

/// The dataset, labelled by the checkpoint's classes.
///
/// # Errors
/// When it cannot be read, or its classes are not the checkpoint's.
pub fn open(images: &Images<'_>, checkpoint: &Checkpoint, file: &Path) -> Result<Dataset> {
    let root = match images.root {
        Some(root) => root,
        None if !images.data.spec().needs_root() => Path::new(""),
        None => {
            return Err(usage(format!(
                "--root: not given, expected the folder of the unpacked {} archive",
                images.data
            )));
        }
    };
    let options = DataOptions {
        allow_missing: images.allow_missing,
        synthetic: images.synthetic.cloned().unwrap_or_default(),
    };
    let dataset = data::open(images.data, root, images.split, &options)?;
    let (known, logits) = (&checkpoint.meta.classes, checkpoint.model.num_classes() as usize);
    if !known.is_empty() {
        return Ok(dataset.relabelled(known)?);
    }
    if dataset.classes.len() != logits {
        bail!(
            "{}: {logits} classes without names, but {} has {}",
            file.display(),
            dataset.name,
            dataset.classes.len()
        );
    }
    Ok(dataset)
}

/// Puts the images in the order that `seed` draws and keeps the first `limit`, so that a smaller
/// subset is part of a larger one.
pub fn choose(dataset: &mut Dataset, seed: u64, limit: Option<u64>) {
    dataset.records.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    if let Some(limit) = limit {
        dataset.records.truncate(limit as usize);
    }
}
