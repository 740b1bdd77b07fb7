//! Where the object is: boxes or mask of a record as a foreground map at model input size.

use std::fmt;
use std::path::PathBuf;

use image::GrayImage;
use serde::{Deserialize, Serialize};

use super::{BBox, MaskSource, Plan, Record};
use crate::{Error, Result};

/// Which annotation is the ground truth of localization.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroundTruth {
    /// The mask where the record has one, otherwise its boxes.
    #[default]
    Auto,
    /// The union of the boxes.
    Box,
    /// The mask.
    Mask,
}

/// What is wrong with an annotation that its file has, but that cannot be used. It is an error of the
/// record alone, and only where the annotation is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file of the annotation.
    pub file: PathBuf,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.problem)
    }
}

/// The annotation that a [`GroundTruth`] selects from a record.
#[derive(Debug, Clone, Copy)]
pub enum Annotation<'a> {
    /// A segmentation.
    Mask(&'a MaskSource),
    /// One box or more.
    Boxes(&'a [BBox]),
    /// Boxes that cannot be used.
    Faulty(&'a Fault),
}

impl GroundTruth {
    /// The annotation of `record`; `None` where it has none of the kind.
    pub fn of(self, record: &Record) -> Option<Annotation<'_>> {
        let boxes = match (&record.box_fault, &record.boxes[..]) {
            (Some(fault), _) => Some(Annotation::Faulty(fault)),
            (None, []) => None,
            (None, boxes) => Some(Annotation::Boxes(boxes)),
        };
        let mask = record.mask.as_ref().map(Annotation::Mask);
        match self {
            Self::Auto => mask.or(boxes),
            Self::Box => boxes,
            Self::Mask => mask,
        }
    }
}

impl Annotation<'_> {
    /// The foreground `[H,W]`, row-major, after the geometry of `plan`: a mask goes through it with
    /// nearest neighbour, boxes analytically before they are rasterised (a pixel is foreground
    /// where its centre is inside one).
    ///
    /// # Errors
    /// Where the annotation is faulty, and where the mask cannot be read or its size is not the
    /// image's.
    pub fn rasterise(self, plan: &Plan) -> Result<Vec<bool>> {
        let (width, height) = plan.output_size();
        match self {
            Self::Mask(source) => {
                let (source_width, source_height) = plan.source_size();
                let mask: GrayImage = plan.mask(&source.load(source_width, source_height)?);
                Ok(mask.iter().map(|&value| value > 0).collect())
            }
            Self::Boxes(boxes) => {
                let mut foreground = vec![false; width as usize * height as usize];
                for bbox in boxes {
                    if let Some(bbox) = plan.bbox(bbox) {
                        bbox.fill(&mut foreground, width as usize);
                    }
                }
                Ok(foreground)
            }
            Self::Faulty(Fault { file, problem }) => Err(Error::malformed(file, problem.clone())),
        }
    }
}
