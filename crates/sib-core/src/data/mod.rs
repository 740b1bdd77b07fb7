//! Datasets in the layouts of their own archives, transforms of images with their annotations, and
//! a parallel loader.
//!
//! A [`Dataset`] is plain data: a list of [`Record`]s that say where an image comes from, its label
//! and its boxes and mask. [`open`] reads one; a [`Transform`] turns an image into model input and
//! carries the annotations along; a [`Loader`] makes batches.

pub mod bbox;
pub mod decode;
pub mod folder;
pub mod ground_truth;
pub mod loader;
pub mod pets;
pub mod plan;
mod random;
mod source;
pub mod synthetic;
pub mod transform;
pub mod voc;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use bbox::BBox;
pub use ground_truth::GroundTruth;
pub use loader::{Batch, Loader, LoaderOptions, OnUnreadable};
pub use plan::Plan;
pub use source::{MaskRule, MaskSource, Source};
pub use synthetic::SyntheticOptions;
pub use transform::Transform;

use crate::{Error, Result};

/// The datasets that [`open`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DatasetName {
    /// CIFAR-100, binary version.
    Cifar100,
    /// ImageNet (ILSVRC2012).
    ImageNet,
    /// Caltech-UCSD Birds-200-2011.
    Cub200,
    /// Oxford-IIIT Pet.
    Pets,
    /// Stanford Dogs.
    Dogs,
    /// One folder per split, one folder per class.
    Folder,
    /// Built in: textured objects on textured backgrounds, with exact masks.
    Synthetic,
}

impl DatasetName {
    /// All of them, in the order in which they are listed to users.
    pub const ALL: [Self; 7] = [
        Self::Cifar100,
        Self::ImageNet,
        Self::Cub200,
        Self::Pets,
        Self::Dogs,
        Self::Folder,
        Self::Synthetic,
    ];

    /// The name on the command line and in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cifar100 => "cifar100",
            Self::ImageNet => "imagenet",
            Self::Cub200 => "cub200",
            Self::Pets => "pets",
            Self::Dogs => "dogs",
            Self::Folder => "folder",
            Self::Synthetic => "synthetic",
        }
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DatasetName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            Error::invalid("data.name", format!("\"{name}\""), format!("one of {known}"))
        })
    }
}

impl TryFrom<String> for DatasetName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<DatasetName> for String {
    fn from(name: DatasetName) -> Self {
        name.as_str().to_owned()
    }
}

/// Which part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Split {
    /// The images to train on: `train`, or `trainval` where the benchmark calls it so.
    Train,
    /// The images to evaluate on: `test`, or `val` where the benchmark keeps its test labels.
    Test,
}

impl Split {
    /// `train` or `test`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(split: &str) -> Result<Self> {
        match split {
            "train" | "trainval" => Ok(Self::Train),
            "test" | "val" => Ok(Self::Test),
            _ => Err(Error::invalid("split", format!("\"{split}\""), "train or test (or val)")),
        }
    }
}

impl TryFrom<String> for Split {
    type Error = Error;

    fn try_from(split: String) -> Result<Self> {
        split.parse()
    }
}

impl From<Split> for String {
    fn from(split: Split) -> Self {
        split.as_str().to_owned()
    }
}

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

/// One labelled image and what is known of where its object is.
#[derive(Debug, Clone)]
pub struct Record {
    /// Unique within the dataset and stable between machines: a relative path or a running number.
    pub id: String,
    /// Where the pixels come from.
    pub source: Source,
    /// Index into [`Dataset::classes`].
    pub label: usize,
    /// Boxes around the object(s), in pixels of the image as stored. Empty where none are known.
    pub boxes: Vec<BBox>,
    /// Segmentation of the object, at the size of the image as stored.
    pub mask: Option<MaskSource>,
}

/// A split of a dataset: data, with nothing decoded yet.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Which dataset.
    pub name: DatasetName,
    /// Which split of it.
    pub split: Split,
    /// Class names; the same for both splits.
    pub classes: Vec<String>,
    /// The images.
    pub records: Vec<Record>,
    /// Images that the split's lists name and that are not there. Zero unless
    /// [`DataOptions::allow_missing`].
    pub missing: usize,
}

impl Dataset {
    /// Number of images of each class, in the order of [`Dataset::classes`].
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for record in &self.records {
            counts[record.label] += 1;
        }
        counts
    }

    /// Keeps at most `n` records, evenly spaced over the split, so that every class stays present
    /// as long as `n` allows.
    #[must_use]
    pub fn limit(mut self, n: usize) -> Self {
        let len = self.records.len();
        if n < len {
            let all = std::mem::take(&mut self.records);
            let mut next = 0;
            self.records = all
                .into_iter()
                .enumerate()
                .filter(|(i, _)| {
                    let keep = next < n && *i == next * len / n;
                    next += usize::from(keep);
                    keep
                })
                .map(|(_, record)| record)
                .collect();
        }
        self
    }

    /// Keeps the records that have the ground truth asked for; returns how many were left out.
    pub fn retain_annotated(&mut self, kind: GroundTruth) -> usize {
        let before = self.records.len();
        self.records.retain(|record| kind.of(record).is_some());
        before - self.records.len()
    }

    /// Checks what every reader must guarantee: labels within the classes, no empty split, and in
    /// training no class without an image.
    fn checked(self, root: &Path) -> Result<Self> {
        if self.records.is_empty() {
            return Err(Error::malformed(root, format!("no image in the {} split", self.split)));
        }
        debug_assert!(self.records.iter().all(|record| record.label < self.classes.len()));
        if self.split == Split::Train
            && let Some(empty) = self.class_counts().iter().position(|&count| count == 0)
        {
            return Err(Error::malformed(
                root,
                format!("class \"{}\" has no image in the train split", self.classes[empty]),
            ));
        }
        Ok(self)
    }
}

/// Opens a split of a dataset: reads its lists and annotations, decodes no image.
///
/// `root` is the unpacked archive's folder; `synthetic` ignores it.
///
/// # Errors
/// Where `root` has not the layout of the dataset (the message says what was expected and what was
/// found), where its lists are malformed or name missing images (see
/// [`DataOptions::allow_missing`]), and where the split or one of its training classes is empty.
pub fn open(
    name: DatasetName,
    root: &Path,
    split: Split,
    options: &DataOptions,
) -> Result<Dataset> {
    let dataset = match name {
        DatasetName::Pets => pets::open(root, split, options.allow_missing),
        DatasetName::Folder => folder::open(root, split),
        DatasetName::Synthetic => synthetic::open(split, &options.synthetic),
        _ => Err(Error::invalid("data.name", name, "pets, folder or synthetic")),
    }?;
    dataset.checked(root)
}

/// Fails unless all of `parts` exist under `root`; the message lists the layout and what is there.
fn require_layout(root: &Path, layout: &str, parts: &[&str]) -> Result<()> {
    let missing: Vec<&str> =
        parts.iter().copied().filter(|part| !root.join(part).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let found = match list(root) {
        Err(_) if !root.exists() => "no such folder".to_owned(),
        Err(_) => "not a folder".to_owned(),
        Ok(entries) if entries.is_empty() => "an empty folder".to_owned(),
        Ok(entries) => {
            let more = if entries.len() > 8 { ", ..." } else { "" };
            let names: Vec<_> = entries.iter().take(8).map(|path| file_name(path)).collect();
            names.join(", ") + more
        }
    };
    Err(Error::malformed(
        root,
        format!("{} missing; expected {layout}; found {found}", missing.join(", ")),
    ))
}

/// The entries of a folder in the order of their names.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>())
        .map_err(Error::io("read", folder))?;
    entries.sort();
    Ok(entries)
}

/// The last part of a path, for labels and ids.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The text of a file.
fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(Error::io("read", path))
}

/// The error of lists that name images which are not there.
fn missing_images(list: &Path, missing: &[String], total: usize) -> Error {
    Error::malformed(
        list,
        format!(
            "{} of {total} images are not there, the first is {}; set data.allow_missing = true \
             to go on without them",
            missing.len(),
            missing[0]
        ),
    )
}
