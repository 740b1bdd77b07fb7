//! The geometry of one transformed image: the same steps for its pixels, mask and boxes.

use fast_image_resize as fir;
use image::{GrayImage, RgbImage, imageops};

use super::BBox;
use crate::{Error, Result};

/// One geometric step with all its random choices made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// What happens to one image: the steps from its stored size to the model's input.
#[derive(Debug, Clone, PartialEq, Eq)]
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
            Step::Flip => {}
        }
        self.steps.push(step);
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
    /// Where a resized image would not fit in memory's bounds.
    pub fn image(&self, mut image: RgbImage) -> Result<RgbImage> {
        for &step in &self.steps {
            image = match step {
                Step::Resize { width, height } => resize(&image, width, height)?,
                Step::Crop { x, y, width, height } => {
                    imageops::crop_imm(&image, x, y, width, height).to_image()
                }
                Step::Flip => imageops::flip_horizontal(&image),
            };
        }
        Ok(image)
    }

    /// A mask of the source's size after all steps; resizing takes the nearest neighbour.
    pub fn mask(&self, mut mask: GrayImage) -> GrayImage {
        for &step in &self.steps {
            mask = match step {
                Step::Resize { width, height } => resize_nearest(&mask, width, height),
                Step::Crop { x, y, width, height } => {
                    imageops::crop_imm(&mask, x, y, width, height).to_image()
                }
                Step::Flip => imageops::flip_horizontal(&mask),
            };
        }
        mask
    }

    /// A box of the stored image after all steps, clipped; `None` where nothing of it is left.
    pub fn bbox(&self, bbox: &BBox) -> Option<BBox> {
        let (mut width, mut height) = self.source;
        let mut bbox = *bbox;
        for &step in &self.steps {
            bbox = match step {
                Step::Resize { width: w, height: h } => {
                    let (sx, sy) = (w as f32 / width as f32, h as f32 / height as f32);
                    (width, height) = (w, h);
                    bbox.scaled(sx, sy)
                }
                Step::Crop { x, y, width: w, height: h } => {
                    (width, height) = (w, h);
                    bbox.shifted(-(x as f32), -(y as f32))
                }
                Step::Flip => bbox.flipped(width as f32),
            };
        }
        bbox.clipped(width, height)
    }

    /// Where a box of the transformed image lies in the stored one: the inverse of [`Plan::bbox`],
    /// not clipped.
    pub fn to_source(&self, bbox: &BBox) -> BBox {
        // Sizes before each step, for the inverse.
        let mut sizes = Vec::with_capacity(self.steps.len());
        let mut size = self.source;
        for &step in &self.steps {
            sizes.push(size);
            if let Step::Resize { width, height } | Step::Crop { width, height, .. } = step {
                size = (width, height);
            }
        }
        let mut bbox = *bbox;
        for (&step, (width, height)) in self.steps.iter().zip(sizes).rev() {
            bbox = match step {
                Step::Resize { width: w, height: h } => {
                    bbox.scaled(width as f32 / w as f32, height as f32 / h as f32)
                }
                Step::Crop { x, y, .. } => bbox.shifted(x as f32, y as f32),
                Step::Flip => bbox.flipped(width as f32),
            };
        }
        bbox
    }

    /// The rectangle of the stored image that the transformed image shows.
    pub fn source_rect(&self) -> BBox {
        let (width, height) = self.output;
        self.to_source(&BBox::new(0.0, 0.0, width as f32, height as f32))
    }

    /// Whether left and right are swapped.
    pub fn is_flipped(&self) -> bool {
        self.steps.iter().filter(|step| matches!(step, Step::Flip)).count() % 2 == 1
    }
}

/// Bilinear with antialiasing: a triangle filter as wide as the scale, 8-bit between the passes.
///
/// # Errors
/// Where the resized image would have more than 2^28 pixels.
pub fn resize(image: &RgbImage, width: u32, height: u32) -> Result<RgbImage> {
    const MOST_PIXELS: u64 = 1 << 28;
    if width == 0 || height == 0 || u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(Error::invalid(
            "resized image",
            format!("{width}x{height} pixels"),
            "1 to 2^28 pixels; the image is too long and narrow",
        ));
    }
    let refused = |error: &dyn std::fmt::Display| {
        Error::invalid("resized image", error, "a size that the resizer accepts")
    };
    let source = fir::images::ImageRef::new(
        image.width(),
        image.height(),
        image.as_raw(),
        fir::PixelType::U8x3,
    )
    .map_err(|error| refused(&error))?;
    let mut resized = RgbImage::new(width, height);
    let mut target =
        fir::images::Image::from_slice_u8(width, height, &mut resized, fir::PixelType::U8x3)
            .map_err(|error| refused(&error))?;
    let options = fir::ResizeOptions::new()
        .resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::Bilinear))
        .use_alpha(false);
    fir::Resizer::new().resize(&source, &mut target, &options).map_err(|error| refused(&error))?;
    Ok(resized)
}

/// Nearest neighbour: pixel `i` takes the source pixel under its centre.
fn resize_nearest(mask: &GrayImage, width: u32, height: u32) -> GrayImage {
    let under = |i: u32, new: u32, old: u32| {
        let position = (u64::from(i) * 2 + 1) * u64::from(old) / (u64::from(new) * 2);
        position as u32
    };
    GrayImage::from_fn(width, height, |x, y| {
        *mask.get_pixel(under(x, width, mask.width()), under(y, height, mask.height()))
    })
}
