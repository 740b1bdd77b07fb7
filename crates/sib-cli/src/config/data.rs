//! Settings of the images.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sib_core::checkpoint::Preprocessing;
use sib_core::data::transform::Operation;
use sib_core::data::{DataOptions, DatasetName, Mix, SyntheticOptions, Transform};

use crate::error::usage;

/// The images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Dataset.
    pub name: DatasetName,
    /// Folder of the unpacked archive; `synthetic` needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Go on without images that the split files name and that are not there.
    pub allow_missing: bool,
    /// Resize, crop and normalisation.
    pub preprocessing: Preprocessing,
    /// Random resized crop and flip in training (the paper: ImageNet only).
    pub augment: bool,
    /// One random change of colour or geometry a training image (TrivialAugment), after the crop.
    pub trivial_augment: bool,
    /// Training images mixed with one another: `{ mixup = { alpha = 0.2 } }` or
    /// `{ cut-mix = { alpha = 1.0 } }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
    /// Draw training images with replacement, each class as often as any other.
    pub class_balanced: bool,
    /// Threads that decode; unset: one a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<NonZeroUsize>,
    /// Memory for decoded images of each split, which later epochs take from there.
    pub cache_mib: usize,
    /// At most this many training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_train: Option<usize>,
    /// At most this many validation images, where there is such a split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_val: Option<usize>,
    /// At most this many test images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_test: Option<usize>,
    /// Settings of `synthetic`.
    pub synthetic: SyntheticOptions,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            name: DatasetName::Synthetic,
            root: None,
            allow_missing: false,
            preprocessing: Preprocessing::default(),
            augment: false,
            trivial_augment: false,
            mix: None,
            class_balanced: false,
            workers: None,
            cache_mib: 0,
            limit_train: None,
            limit_val: None,
            limit_test: None,
            synthetic: SyntheticOptions::default(),
        }
    }
}

impl DataConfig {
    /// How the dataset is opened.
    pub fn options(&self) -> DataOptions {
        DataOptions { allow_missing: self.allow_missing, synthetic: self.synthetic.clone() }
    }

    /// The dataset's folder; empty for `synthetic`.
    ///
    /// # Errors
    /// When `data.root` is not set and the dataset is not built in.
    pub fn root(&self) -> Result<&Path> {
        match &self.root {
            Some(root) => Ok(root),
            None if !self.name.spec().needs_root() => Ok(Path::new("")),
            None => Err(usage(format!(
                "data.root: not set, expected the folder of the unpacked {} archive",
                self.name
            ))),
        }
    }

    /// The transform of training images.
    ///
    /// # Errors
    /// When `preprocessing` is out of range.
    pub fn train_transform(&self) -> Result<Transform> {
        let mut transform = Transform::matching(&self.preprocessing)?;
        if self.augment {
            let Preprocessing { crop_px, mean, std, .. } = self.preprocessing;
            transform = Transform::augmented(crop_px as u32, mean, std)?;
        }
        if self.trivial_augment {
            transform.operations.push(Operation::TrivialAugment {});
        }
        Ok(transform)
    }
}
