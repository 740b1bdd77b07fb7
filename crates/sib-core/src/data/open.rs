//! From a dataset's name and folder to its records.

use std::path::Path;

use super::dataset::Dataset;
use super::name::DatasetName;
use super::options::DataOptions;
use super::split::Split;
use crate::Result;

/// Opens a split of a dataset: reads its lists and annotations, decodes no image.
///
/// `root` is the unpacked archive's folder; `synthetic` ignores it. Where `val` is the test split
/// (ImageNet's, and a folder's without `test`), that is what [`Split::Validation`] opens.
///
/// Annotations that cannot be used are no error here, but of those who use them: see
/// [`Record::box_fault`](super::Record::box_fault).
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
    let spec = name.spec();
    let root = &spec.unpacked(root);
    let split = spec.meant(root, split)?;
    (spec.open)(root, split, options)?.checked(root)
}

/// The splits of a dataset: `train` and `test`, and `val` where `root` has one besides.
///
/// # Errors
/// Where a folder has several folders that could be its validation split.
pub fn splits(name: DatasetName, root: &Path) -> Result<Vec<Split>> {
    let mut splits = vec![Split::Train, Split::Test];
    if name.spec().has_validation(root)? {
        splits.push(Split::Validation);
    }
    Ok(splits)
}
