//! Datasets in the layouts of their own archives, transforms of images with their annotations, and
//! a parallel loader.
//!
//! A [`Dataset`] is plain data: a list of [`Record`]s that say where an image comes from, its label
//! and its boxes and mask. [`open`] reads one; a [`Transform`] turns an image into model input and
//! carries the annotations along; a [`Loader`] makes batches.

pub mod affine;
pub mod bbox;
mod cache;
pub mod catalog;
pub mod check;
mod cifar100;
mod class_folders;
pub mod colour;
mod cub200;
mod dataset;
pub mod decode;
mod dogs;
pub mod files;
mod folder;
pub mod ground_truth;
mod imagenet;
mod layout;
pub mod loader;
mod mat5;
pub mod mix;
mod name;
mod pets;
pub mod plan;
mod resample;
mod source;
pub mod synthetic;
pub mod transform;
mod trivial_augment;
mod voc;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use bbox::BBox;
pub use catalog::Description;
pub use check::{CheckReport, check};
pub use cifar100::Thumbnail;
pub use dataset::{Dataset, Record};
pub use ground_truth::{Fault, GroundTruth};
pub use loader::{Batch, Loader, LoaderOptions, OnUnreadable};
pub use mix::{Mix, soft_targets};
pub use name::{DatasetName, Split};
pub use plan::Plan;
pub use source::{MaskRule, MaskSource, Source};
pub use synthetic::SyntheticOptions;
pub use transform::Transform;

use crate::{Error, Result};

/// How [`open`] reads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataOptions {
    /// Lines of split files that name missing images are left out instead of being an error, and
    /// with them the classes of which no image is there.
    pub allow_missing: bool,
    /// Settings of the `synthetic` dataset; the others ignore them.
    pub synthetic: SyntheticOptions,
}

/// Opens a split of a dataset: reads its lists and annotations, decodes no image.
///
/// `root` is the unpacked archive's folder; `synthetic` ignores it. Where `val` is the test split
/// (ImageNet's, and a folder's without `test`), that is what [`Split::Validation`] opens.
///
/// Annotations that cannot be used are no error here, but of those who use them: see
/// [`Record::box_fault`].
///
/// # Errors
/// Where `root` has not the layout of the dataset (the message says what was expected and what was
/// found), where its lists are malformed or name missing images (see
/// [`DataOptions::allow_missing`]), where a class is named twice, where there is no such split, and
/// where it or one of its training classes is empty.
pub fn open(
    name: DatasetName,
    root: &Path,
    split: Split,
    options: &DataOptions,
) -> Result<Dataset> {
    let root = &unpacked(name, root);
    let split = meant(name, root, split)?;
    let allow_missing = options.allow_missing;
    let dataset = match name {
        DatasetName::Cifar100 => cifar100::open(root, split),
        DatasetName::ImageNet => imagenet::open(root, split),
        DatasetName::Cub200 => cub200::open(root, split, allow_missing),
        DatasetName::Pets => pets::open(root, split, allow_missing),
        DatasetName::Dogs => dogs::open(root, split, allow_missing),
        DatasetName::Folder => folder::open(root, split),
        DatasetName::Synthetic => synthetic::open(split, &options.synthetic),
    }?;
    dataset.checked(root)
}

/// The splits of a dataset: `train` and `test`, and `val` where `root` has one besides.
///
/// # Errors
/// Where a folder has several folders that could be its validation split.
pub fn splits(name: DatasetName, root: &Path) -> Result<Vec<Split>> {
    let mut splits = vec![Split::Train, Split::Test];
    if name == DatasetName::Folder && folder::has_validation(root)? {
        splits.push(Split::Validation);
    }
    Ok(splits)
}

/// The split that `split` is in this dataset.
fn meant(name: DatasetName, root: &Path, split: Split) -> Result<Split> {
    match (name, split) {
        (DatasetName::ImageNet, Split::Validation) => Ok(Split::Test),
        (DatasetName::Folder, Split::Validation) => folder::validation(root),
        (_, Split::Validation) => {
            let expected = format!("train or test: {name} has no validation split");
            Err(Error::invalid("split", split, expected))
        }
        _ => Ok(split),
    }
}

/// The folder that an archive makes, where `root` is the folder that it was unpacked in.
fn unpacked(name: DatasetName, root: &Path) -> PathBuf {
    let own = match name {
        DatasetName::Cifar100 => "cifar-100-binary",
        DatasetName::Cub200 => "CUB_200_2011",
        _ => return root.to_owned(),
    };
    let inside = root.join(own);
    if inside.is_dir() { inside } else { root.to_owned() }
}
