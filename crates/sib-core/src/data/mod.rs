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
pub mod decode;
mod dogs;
mod folder;
pub mod ground_truth;
mod imagenet;
pub mod loader;
mod mat5;
pub mod mix;
mod name;
mod pets;
pub mod plan;
mod random;
mod resample;
mod source;
pub mod synthetic;
pub mod transform;
mod trivial_augment;
mod voc;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

pub use bbox::BBox;
pub use catalog::Description;
pub use check::{CheckReport, check};
pub use cifar100::Thumbnail;
pub use ground_truth::GroundTruth;
pub use loader::{Batch, Loader, LoaderOptions, OnUnreadable};
pub use mix::{Mix, soft_targets};
pub use name::{DatasetName, Split};
pub use plan::Plan;
pub use source::{MaskRule, MaskSource, Source};
pub use synthetic::SyntheticOptions;
pub use transform::Transform;

use random::{Use, stream};

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
    /// Images that the split's lists name and that are not there, by their paths from the root.
    /// Empty unless [`DataOptions::allow_missing`].
    pub missing: Vec<String>,
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

    /// Keeps at most `n` records: of every class the same share, evenly spaced over the class.
    #[must_use]
    pub fn limit(mut self, n: usize) -> Self {
        let len = self.records.len();
        if n < len {
            let mut by_class: Vec<usize> = (0..len).collect();
            by_class.sort_by_key(|&index| self.records[index].label);
            let mut kept = vec![false; len];
            for i in 0..n {
                kept[by_class[i * len / n]] = true;
            }
            let mut kept = kept.into_iter();
            self.records.retain(|_| kept.next().unwrap_or_default());
        }
        self
    }

    /// Takes a share of every class out, chosen by `seed`: the second of the two datasets is a
    /// validation set that training has not seen.
    ///
    /// # Errors
    /// Where `frac` is not between 0 and 1, or nothing would be left on one of the sides.
    pub fn hold_out(mut self, frac: f64, seed: u64) -> Result<(Self, Self)> {
        if !(frac > 0.0 && frac < 1.0) {
            return Err(Error::invalid("hold-out fraction", frac, "more than 0 and less than 1"));
        }
        let mut held = vec![false; self.records.len()];
        for class in 0..self.classes.len() {
            let mut members: Vec<usize> = (0..self.records.len())
                .filter(|&index| self.records[index].label == class)
                .collect();
            members.shuffle(&mut stream(Use::HoldOut, seed, class as u64, 0));
            let count = (members.len() as f64 * frac).round() as usize;
            for &index in &members[..count.min(members.len().saturating_sub(1))] {
                held[index] = true;
            }
        }
        let mut other = Self { records: Vec::new(), missing: Vec::new(), ..self.clone() };
        let (taken, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.records).into_iter().zip(held).partition(|(_, held)| *held);
        other.records = taken.into_iter().map(|(record, _)| record).collect();
        self.records = rest.into_iter().map(|(record, _)| record).collect();
        if self.records.is_empty() || other.records.is_empty() {
            return Err(Error::invalid(
                "hold-out fraction",
                frac,
                "one that leaves images on both sides",
            ));
        }
        Ok((self, other))
    }

    /// The dataset with labels that index `classes`, as a network was trained on them, instead of
    /// its own.
    ///
    /// # Errors
    /// Where it has images of a class that `classes` does not name.
    pub fn relabelled(mut self, classes: &[String]) -> Result<Self> {
        let new: Vec<Option<usize>> = self
            .classes
            .iter()
            .map(|class| classes.iter().position(|known| known == class))
            .collect();
        for record in &mut self.records {
            record.label = new[record.label].ok_or_else(|| {
                Error::invalid(
                    "class",
                    format!("\"{}\" of {}", self.classes[record.label], self.name),
                    format!("one of the {} classes of the network", classes.len()),
                )
            })?;
        }
        self.classes = classes.to_vec();
        Ok(self)
    }

    /// Keeps the records that have the ground truth asked for; returns how many were left out.
    pub fn retain_annotated(&mut self, kind: GroundTruth) -> usize {
        let before = self.records.len();
        self.records.retain(|record| kind.of(record).is_some());
        before - self.records.len()
    }

    /// Drops the classes that are not `used`; none of their images is among the records.
    fn keep_classes(&mut self, used: &[bool]) {
        let mut next = 0;
        let new: Vec<usize> = used
            .iter()
            .map(|&used| {
                next += usize::from(used);
                next.saturating_sub(1)
            })
            .collect();
        for record in &mut self.records {
            record.label = new[record.label];
        }
        let mut used = used.iter();
        self.classes.retain(|_| used.next().copied().unwrap_or_default());
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
    let root = &unpacked(name, root);
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
            "{} of {total} images are not there, the first is {}; data.allow_missing = true goes on \
             without them",
            missing.len(),
            missing[0]
        ),
    )
}
