//! The images that are evaluated on.

use std::path::Path;

use anyhow::{Result, bail};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sib_core::data::{self, DataOptions, Dataset, SyntheticOptions};

use super::Arguments;
use crate::checkpoint::Checkpoint;
use crate::error::usage;

/// The dataset, labelled by the checkpoint's classes.
pub(super) fn open(
    arguments: &Arguments,
    synthetic: Option<&SyntheticOptions>,
    checkpoint: &Checkpoint,
) -> Result<Dataset> {
    let root = match &arguments.root {
        Some(root) => root.as_path(),
        None if !arguments.data.spec().needs_root() => Path::new(""),
        None => {
            return Err(usage(format!(
                "--root: not given, expected the folder of the unpacked {} archive",
                arguments.data
            )));
        }
    };
    let options = DataOptions {
        allow_missing: arguments.allow_missing,
        synthetic: synthetic.cloned().unwrap_or_default(),
    };
    let dataset = data::open(arguments.data, root, arguments.split, &options)?;
    let (known, logits) = (&checkpoint.meta.classes, checkpoint.model.num_classes() as usize);
    if !known.is_empty() {
        return Ok(dataset.relabelled(known)?);
    }
    if dataset.classes.len() != logits {
        bail!(
            "{}: {logits} classes without names, but {} has {}",
            arguments.checkpoint.display(),
            dataset.name,
            dataset.classes.len()
        );
    }
    Ok(dataset)
}

/// Puts the images in the order that `seed` draws and keeps the first `limit`, so that a smaller
/// subset is part of a larger one.
pub(super) fn choose(dataset: &mut Dataset, seed: u64, limit: Option<u64>) {
    dataset.records.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    if let Some(limit) = limit {
        dataset.records.truncate(limit as usize);
    }
}
