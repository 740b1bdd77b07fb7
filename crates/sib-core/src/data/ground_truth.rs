//! Where the object is: boxes or mask of a record as a foreground map at model input size.

use image::GrayImage;
use serde::{Deserialize, Serialize};

use super::bbox::BBox;
use super::dataset::{Dataset, Record};
use super::fault::Fault;
use super::plan::Plan;
use super::source::MaskSource;
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
    /// The name in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Box => "box",
            Self::Mask => "mask",
        }
    }

    /// What it selects, in words.
    fn described(self) -> &'static str {
        match self {
            Self::Auto => "a mask or boxes",
            Self::Box => "boxes",
            Self::Mask => "a mask",
        }
    }

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

impl Dataset {
    /// Keeps the records that have the ground truth asked for, faulty or not; returns how many were
    /// left out.
    pub fn retain_annotated(&mut self, kind: GroundTruth) -> usize {
        let before = self.records.len();
        self.records.retain(|record| kind.of(record).is_some());
        before - self.records.len()
    }

    /// Checks that every record has the annotation `kind` selects, and boxes that can be used.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the first faulty annotation; [`Error::Invalid`] with the number of records without.
    pub fn expect_annotated(&self, kind: GroundTruth) -> Result<()> {
        let mut without = Vec::new();
        for record in &self.records {
            match kind.of(record) {
                Some(Annotation::Faulty(fault)) => return Err(fault.into()),
                Some(_) => {}
                None => without.push(&record.id),
            }
        }
        let Some(first) = without.first() else { return Ok(()) };
        let (count, all) = (without.len(), self.records.len());
        let expected = format!(
            "{} for every image of the {} split: {count} of {all} have none, such as {first}",
            kind.described(),
            self.split
        );
        Err(Error::invalid("annotation", kind.as_str(), expected))
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
            Self::Faulty(fault) => Err(fault.into()),
        }
    }
}
