//! Images and masks at another size.

use fast_image_resize as fir;
use image::{GrayImage, RgbImage};

use crate::{Error, Result};

/// More than any image of a benchmark; a guard against long and narrow ones.
const MOST_PIXELS: u64 = 1 << 28;

/// Bilinear with antialiasing: a triangle filter as wide as the scale, 8-bit between the passes.
///
/// # Errors
/// Where the resized image would have no pixel, or more than 2^28.
pub(super) fn resize(image: &RgbImage, width: u32, height: u32) -> Result<RgbImage> {
    if width == 0 || height == 0 || u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(Error::invalid(
            "image size",
            format!("{}x{} resized to {width}x{height}", image.width(), image.height()),
            "a result of 1 to 2^28 pixels",
        ));
    }
    // Rows first, as Pillow does: what is rounded to 8 bits in between then is the same.
    stretch(&stretch(image, width, image.height())?, width, height)
}

/// One call of the resizer.
fn stretch(image: &RgbImage, width: u32, height: u32) -> Result<RgbImage> {
    let refused = |error: &dyn std::fmt::Display| {
        Error::invalid("image size", error, "one that the resizer accepts")
    };
    let pixels = fir::PixelType::U8x3;
    let source = fir::images::ImageRef::new(image.width(), image.height(), image.as_raw(), pixels)
        .map_err(|error| refused(&error))?;
    let mut resized = RgbImage::new(width, height);
    let mut target = fir::images::Image::from_slice_u8(width, height, &mut resized, pixels)
        .map_err(|error| refused(&error))?;
    let options = fir::ResizeOptions::new()
        .resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::Bilinear))
        .use_alpha(false);
    fir::Resizer::new().resize(&source, &mut target, &options).map_err(|error| refused(&error))?;
    Ok(resized)
}

/// Nearest neighbour: a pixel takes the source pixel under its centre.
pub(super) fn resize_nearest(mask: &GrayImage, width: u32, height: u32) -> GrayImage {
    // floor((i + 1/2) · old / new), in whole numbers.
    let under = |i: u32, new: u32, old: u32| {
        ((u64::from(i) * 2 + 1) * u64::from(old) / (u64::from(new) * 2)) as u32
    };
    GrayImage::from_fn(width, height, |x, y| {
        *mask.get_pixel(under(x, width, mask.width()), under(y, height, mask.height()))
    })
}
