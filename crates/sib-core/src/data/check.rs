//! Walks a dataset and reports all that is wrong with it, instead of stopping at the first.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::Serialize;

use super::dataset::{Dataset, Record};
use super::name::DatasetName;
use super::open::{open, splits};
use super::options::DataOptions;
use super::split::Split;
use crate::Result;

/// What is found in one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The image cannot be decoded.
    Unreadable,
    /// The boxes cannot be used.
    Boxes,
    /// A box lies outside the image by more than a pixel.
    BoxOutside,
    /// The mask cannot be decoded or has not the image's size.
    Mask,
    /// The mask has no foreground.
    EmptyMask,
    /// A class has no image in the split.
    EmptyClass,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Id of the record, or the class.
    pub id: String,
    /// What kind of problem.
    pub kind: ProblemKind,
    /// What exactly, naming the file or the numbers.
    pub detail: String,
}

/// A split of a dataset as it is on the disk.
#[derive(Debug, Clone, Serialize)]
pub struct SplitReport {
    /// Which split.
    pub split: Split,
    /// Images that are there.
    pub images: usize,
    /// Images that the dataset has as published, where that is known.
    pub published_images: Option<usize>,
    /// Number of images of each class, by name.
    pub class_counts: Vec<(String, usize)>,
    /// Images with at least one box.
    pub with_boxes: usize,
    /// Images with a mask.
    pub with_mask: usize,
    /// Images that the lists name and that are not there, by their paths from the root.
    pub missing: Vec<String>,
    /// Files that are left out since they are no images by their names; see [`Dataset::ignored`].
    pub ignored: Vec<String>,
    /// Images that the list of splits does not name; see [`Dataset::unlisted`].
    pub unlisted: Vec<String>,
    /// What is wrong with the classes and with the images that are there, in the order of the
    /// records.
    pub problems: Vec<Problem>,
}

/// What [`check`] found.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// Which dataset.
    pub name: DatasetName,
    /// The splits that could be opened.
    pub splits: Vec<SplitReport>,
    /// Why the others could not.
    pub failed: Vec<(Split, String)>,
}

impl CheckReport {
    /// Whether nothing is missing, unreadable or out of place. An empty mask is not counted: the
    /// published data have some; nor is a file that is no image.
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty()
            && self.splits.iter().all(|split| {
                split.missing.is_empty()
                    && split.problems.iter().all(|p| p.kind == ProblemKind::EmptyMask)
            })
    }
}

/// Opens all splits of a dataset and decodes every image and mask, on all cores.
///
/// Missing images are collected whatever [`DataOptions::allow_missing`] says. `progress` is called
/// after each image with the number done and the number in all, from any thread.
pub fn check(
    name: DatasetName,
    root: &Path,
    options: &DataOptions,
    progress: impl Fn(usize, usize) + Sync,
) -> CheckReport {
    let options = DataOptions { allow_missing: true, ..options.clone() };
    let mut failed = Vec::new();
    let mut datasets: Vec<Dataset> = Vec::new();
    let splits = splits(name, root).unwrap_or_else(|error| {
        failed.push((Split::Validation, error.to_string()));
        vec![Split::Train, Split::Test]
    });
    for split in splits {
        match open(name, root, split, &options) {
            Ok(dataset) => datasets.push(dataset),
            Err(error) => failed.push((split, error.to_string())),
        }
    }
    let total = datasets.iter().map(|dataset| dataset.records.len()).sum();
    let done = AtomicUsize::new(0);
    let spec = name.spec();
    let splits = datasets
        .into_iter()
        .map(|dataset| {
            let found: Vec<Problem> = dataset
                .records
                .par_iter()
                .flat_map_iter(|record| {
                    let problems = problems(record);
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                    problems
                })
                .collect();
            let mut problems = empty_classes(&dataset);
            problems.extend(found);
            SplitReport {
                split: dataset.split,
                images: dataset.records.len(),
                published_images: match dataset.split {
                    Split::Train => spec.train_images,
                    Split::Test => spec.test_images,
                    Split::Validation => None,
                },
                class_counts: dataset.classes.iter().cloned().zip(dataset.class_counts()).collect(),
                with_boxes: dataset.records.iter().filter(|r| !r.boxes.is_empty()).count(),
                with_mask: dataset.records.iter().filter(|r| r.mask.is_some()).count(),
                missing: dataset.missing,
                ignored: dataset.ignored,
                unlisted: dataset.unlisted,
                problems,
            }
        })
        .collect();
    CheckReport { name, splits, failed }
}

/// The classes without an image: a network cannot be measured on them.
fn empty_classes(dataset: &Dataset) -> Vec<Problem> {
    let classes = dataset.classes.iter().zip(dataset.class_counts());
    let empty = classes.filter(|(_, count)| *count == 0).map(|(class, _)| Problem {
        id: class.clone(),
        kind: ProblemKind::EmptyClass,
        detail: format!("class \"{class}\" has no image in the {} split", dataset.split),
    });
    empty.collect()
}

/// Everything that is wrong with one image.
fn problems(record: &Record) -> Vec<Problem> {
    let problem = |kind, detail| Problem { id: record.id.clone(), kind, detail };
    let mut problems = Vec::new();
    if let Some(fault) = &record.box_fault {
        problems.push(problem(ProblemKind::Boxes, fault.to_string()));
    }
    let (width, height) = match record.source.load() {
        Ok(image) => image.dimensions(),
        Err(error) => {
            problems.push(problem(ProblemKind::Unreadable, error.to_string()));
            return problems;
        }
    };
    for bbox in &record.boxes {
        // Annotators count pixels from 0 or from 1, and sizes are rounded: a pixel is no mistake.
        let (right, bottom) = (width as f32 + 1.0, height as f32 + 1.0);
        if bbox.x0 < -1.0 || bbox.y0 < -1.0 || bbox.x1 > right || bbox.y1 > bottom {
            problems.push(problem(
                ProblemKind::BoxOutside,
                format!(
                    "box ({}, {}, {}, {}) in an image of {width}x{height} pixels",
                    bbox.x0, bbox.y0, bbox.x1, bbox.y1
                ),
            ));
        }
    }
    if let Some(mask) = &record.mask {
        match foreground_pixels(mask.load(width, height)) {
            Ok(0) => problems
                .push(problem(ProblemKind::EmptyMask, "no foreground in its mask".to_owned())),
            Ok(_) => {}
            Err(error) => problems.push(problem(ProblemKind::Mask, error.to_string())),
        }
    }
    problems
}

fn foreground_pixels(mask: Result<image::GrayImage>) -> Result<usize> {
    Ok(mask?.iter().filter(|&&value| value > 0).count())
}
