//! Image files to 8-bit RGB, by content and not by file ending.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, GrayImage, ImageDecoder, ImageReader, Limits, RgbImage};

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
/// CMYK and YCCK become RGB as in Pillow, Adobe's inverted values included.
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
    if is_cut_short(&bytes) {
        return Err(Error::malformed(path, "unreadable image: a JPEG that ends early"));
    }
    let unreadable = |source| Error::Image { path: path.to_owned(), source };
    let mut decoder = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(Error::io("read", path))?
        .into_decoder()
        .map_err(unreadable)?;
    // A file of a few bytes may claim to be larger than memory.
    Limits::default().reserve(decoder.total_bytes()).map_err(unreadable)?;
    let stored = decoder.orientation().map_err(unreadable)?;
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    if orientation == Orientation::Upright {
        decoded.apply_orientation(stored);
    }
    Ok(decoded)
}

/// Whether a JPEG has no end marker after the start of its pixels: half a download, which the
/// decoder would fill up with grey.
fn is_cut_short(bytes: &[u8]) -> bool {
    const START_OF_IMAGE: u8 = 0xd8;
    const END_OF_IMAGE: u8 = 0xd9;
    const START_OF_SCAN: u8 = 0xda;
    let Some(mut rest) = bytes.strip_prefix(&[0xff, START_OF_IMAGE]) else { return false };
    // Segments of a marker and a length, up to the pixels. Thumbnails lie within such segments, so
    // their end markers are not mistaken for the image's.
    loop {
        match *rest {
            [0xff, START_OF_SCAN, ref pixels @ ..] => {
                return !pixels.array_windows().any(|pair| *pair == [0xff, END_OF_IMAGE]);
            }
            // Markers may be preceded by filling bytes.
            [0xff, 0xff, ..] => rest = &rest[1..],
            [0xff, _, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                match rest.get(2 + length..) {
                    Some(next) => rest = next,
                    None => return true,
                }
            }
            // No JPEG that we know; the decoder has the last word.
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use image::ImageFormat;

    use super::*;

    /// The check sum that ends a chunk of a PNG file.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
        })
    }

    #[test]
    fn a_small_file_that_claims_a_huge_image_is_refused() {
        let mut file = Vec::new();
        RgbImage::new(1, 1).write_to(&mut Cursor::new(&mut file), ImageFormat::Png).unwrap();
        // Signature, length and name of the first chunk; then width and height.
        for side in [16..20, 20..24] {
            file[side].copy_from_slice(&60_000_u32.to_be_bytes());
        }
        let sum = crc32(&file[12..29]);
        file[29..33].copy_from_slice(&sum.to_be_bytes());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.png");
        std::fs::write(&path, file).unwrap();
        let error = rgb(&path, Orientation::AsStored).unwrap_err();
        assert!(matches!(error, Error::Image { .. }), "{error}");
        assert!(error.to_string().contains("huge.png"), "{error}");
    }
}
