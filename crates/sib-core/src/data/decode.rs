//! Image files to 8-bit RGB, by content and not by file ending.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, GrayImage, ImageDecoder, ImageReader, RgbImage};

use crate::{Error, Result};

/// What is done with the orientation that cameras store in EXIF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    /// Turned upright, as a viewer shows it: photographs of users.
    Upright,
    /// Ignored: benchmarks, whose annotations refer to the pixels as stored, as their peers read
    /// them.
    AsStored,
}

/// Decodes a JPEG or PNG file to 8-bit RGB.
///
/// Greyscale and palettes are expanded, 16-bit values scaled, alpha dropped (what is stored under
/// it shows, as with Pillow's `convert("RGB")`).
///
/// # Errors
/// Where the file cannot be read, or holds no JPEG or PNG image; the error names it.
pub fn rgb(path: &Path, orientation: Orientation) -> Result<RgbImage> {
    Ok(read(path, orientation)?.into_rgb8())
}

/// Decodes a mask file to 8-bit grey; of colours the largest channel is taken, so that every
/// palette entry but black is foreground.
///
/// # Errors
/// As [`rgb`].
pub fn grey(path: &Path) -> Result<GrayImage> {
    let decoded = read(path, Orientation::AsStored)?;
    Ok(match decoded {
        DynamicImage::ImageLuma8(_)
        | DynamicImage::ImageLumaA8(_)
        | DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageLumaA16(_) => decoded.into_luma8(),
        colour => {
            let colour = colour.into_rgb8();
            let (width, height) = colour.dimensions();
            GrayImage::from_fn(width, height, |x, y| {
                let [r, g, b] = colour.get_pixel(x, y).0;
                image::Luma([r.max(g).max(b)])
            })
        }
    })
}

fn read(path: &Path, orientation: Orientation) -> Result<DynamicImage> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let unreadable = |source| Error::Image { path: path.to_owned(), source };
    let mut decoder = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(Error::io("read", path))?
        .into_decoder()
        .map_err(unreadable)?;
    let stored = decoder.orientation().map_err(unreadable)?;
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    if orientation == Orientation::Upright {
        decoded.apply_orientation(stored);
    }
    Ok(decoded)
}
