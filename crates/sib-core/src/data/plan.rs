//! The geometry of one transformed image: the same steps for its pixels, mask and boxes.

use std::borrow::Cow;

use image::{GrayImage, RgbImage, imageops};

use super::affine::Affine;
use super::bbox::BBox;
use super::colour::Colour;
use super::resample::{resize, resize_nearest};
use crate::Result;

/// One step with all its random choices made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// To `width × height` pixels.
    Resize {
        /// New width.
        width: u32,
        /// New height.
        height: u32,
    },
    /// The part of `width × height` pixels from (`x`, `y`).
    Crop {
        /// First column.
        x: u32,
        /// First row.
        y: u32,
        /// New width.
        width: u32,
        /// New height.
        height: u32,
    },
    /// Mirrored left to right.
    Flip,
    /// Rotated, sheared or shifted; black comes in from outside.
    Affine(Affine),
    /// Colours only: masks and boxes stay.
    Colour(Colour),
}

/// What happens to one image: the steps from its stored size to the model's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    source: (u32, u32),
    output: (u32, u32),
    steps: Vec<Step>,
}

impl Plan {
    /// No steps yet, for an image of `width × height` pixels.
    pub fn new(width: u32, height: u32) -> Self {
        Self { source: (width, height), output: (width, height), steps: Vec::new() }
    }

    /// Appends a step; one that changes nothing is left out.
    ///
    /// A crop must lie inside what the steps before it give.
    pub fn push(&mut self, step: Step) {
        let (width, height) = self.output;
        match step {
            Step::Resize { width: w, height: h } if (w, h) == (width, height) => return,
            Step::Crop { width: w, height: h, .. } if (w, h) == (width, height) => return,
            Step::Crop { x, y, width: w, height: h } => {
                debug_assert!(x + w <= width && y + h <= height, "crop outside the image");
                self.output = (w, h);
            }
            Step::Resize { width: w, height: h } => self.output = (w, h),
            Step::Flip | Step::Affine(_) | Step::Colour(_) => {}
        }
        self.steps.push(step);
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Width and height of the image as stored.
    pub fn source_size(&self) -> (u32, u32) {
        self.source
    }

    /// Width and height after the last step.
    pub fn output_size(&self) -> (u32, u32) {
        self.output
    }

    /// The image after all steps; resizing is bilinear with antialiasing, as Pillow's.
    ///
    /// # Errors
    /// Where a resized image would be too large for memory.
    pub fn image(&self, image: &RgbImage) -> Result<RgbImage> {
        self.image_from(0, image)
    }

    /// The image after all steps, from one that has been through the first `done` of them.
    pub(super) fn image_from(&self, done: usize, image: &RgbImage) -> Result<RgbImage> {
        let mut image = Cow::Borrowed(image);
        for step in &self.steps[done..] {
            image = Cow::Owned(match *step {
                Step::Resize { width, height } => resize(&image, width, height)?,
                Step::Crop { x, y, width, height } => {
                    imageops::crop_imm(&*image, x, y, width, height).to_image()
                }
                Step::Flip => imageops::flip_horizontal(&*image),
                Step::Affine(affine) => affine.image(&image),
                Step::Colour(colour) => colour.apply(image.into_owned()),
            });
        }
        Ok(image.into_owned())
    }

    /// A mask of the source's size after all steps; resizing takes the nearest neighbour.
    pub fn mask(&self, mask: &GrayImage) -> GrayImage {
        let mut mask = Cow::Borrowed(mask);
        for step in &self.steps {
            mask = Cow::Owned(match *step {
                Step::Resize { width, height } => resize_nearest(&mask, width, height),
                Step::Crop { x, y, width, height } => {
                    imageops::crop_imm(&*mask, x, y, width, height).to_image()
                }
                Step::Flip => imageops::flip_horizontal(&*mask),
                Step::Affine(affine) => affine.image(&mask),
                Step::Colour(_) => continue,
            });
        }
        mask.into_owned()
    }

    /// A box of the stored image after all steps, clipped to the output; `None` where nothing of it
    /// is left. A rotated or sheared box becomes the box around its corners.
    pub fn bbox(&self, bbox: &BBox) -> Option<BBox> {
        let mut bbox = *bbox;
        for (step, (width, height)) in self.steps.iter().zip(self.sizes()) {
            bbox = match *step {
                Step::Resize { width: w, height: h } => {
                    bbox.scaled(w as f32 / width as f32, h as f32 / height as f32)
                }
                Step::Crop { x, y, .. } => bbox.shifted(-(x as f32), -(y as f32)),
                Step::Flip => bbox.flipped(width as f32),
                Step::Affine(affine) => affine.bbox(&bbox, width, height),
                Step::Colour(_) => bbox,
            };
        }
        bbox.clipped(self.output.0, self.output.1)
    }

    /// Where a box of the transformed image lies in the stored one: the inverse of [`Plan::bbox`],
    /// not clipped.
    pub fn to_source(&self, bbox: &BBox) -> BBox {
        let mut bbox = *bbox;
        for (step, (width, height)) in self.steps.iter().zip(self.sizes()).rev() {
            bbox = match *step {
                Step::Resize { width: w, height: h } => {
                    bbox.scaled(width as f32 / w as f32, height as f32 / h as f32)
                }
                Step::Crop { x, y, .. } => bbox.shifted(x as f32, y as f32),
                Step::Flip => bbox.flipped(width as f32),
                Step::Affine(affine) => affine.source_bbox(&bbox, width, height),
                Step::Colour(_) => bbox,
            };
        }
        bbox
    }

    /// The rectangle of the stored image that the transformed image shows.
    pub fn source_rect(&self) -> BBox {
        let (width, height) = self.output;
        self.to_source(&BBox::new(0.0, 0.0, width as f32, height as f32))
    }

    /// Width and height before each step.
    fn sizes(&self) -> Vec<(u32, u32)> {
        let mut size = self.source;
        self.steps
            .iter()
            .map(|step| {
                let before = size;
                if let Step::Resize { width, height } | Step::Crop { width, height, .. } = *step {
                    size = (width, height);
                }
                before
            })
            .collect()
    }
}
