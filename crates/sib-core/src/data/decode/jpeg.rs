//! JPEG.

use image::RgbImage;
use image::metadata::Orientation;

use super::limits::expect_size;
use crate::native::Jpeg;

/// The pixels and the orientation that EXIF gives them.
///
/// # Errors
/// What is wrong with the file: among others that it is damaged, ends early or lacks scans.
pub(super) fn decode(bytes: &[u8]) -> Result<(RgbImage, Orientation), String> {
    let jpeg = Jpeg::open(bytes)?;
    let (width, height) = jpeg.dimensions();
    expect_size(width, height)?;
    let is_cmyk = jpeg.channels() == 4;
    let mut pixels = jpeg.read()?;
    if is_cmyk {
        pixels = cmyk_to_rgb(&pixels);
    }
    let image = RgbImage::from_raw(width, height, pixels).ok_or("fewer pixels than its size")?;
    Ok((image, orientation(bytes).unwrap_or(Orientation::NoTransforms)))
}

/// Adobe stores what is left of the light, 255 for no ink; like Pillow, we take every file for one
/// of theirs. The product is rounded as Pillow's.
fn cmyk_to_rgb(pixels: &[u8]) -> Vec<u8> {
    let (pixels, _) = pixels.as_chunks::<4>();
    pixels
        .iter()
        .flat_map(|&[c, m, y, k]| {
            [c, m, y].map(|light| {
                let ink = u32::from(255 - light) * u32::from(k) + 128;
                k - (((ink >> 8) + ink) >> 8) as u8
            })
        })
        .collect()
}

/// The orientation in the EXIF segment, where there is one.
fn orientation(bytes: &[u8]) -> Option<Orientation> {
    const START_OF_SCAN: u8 = 0xda;
    const APP1: u8 = 0xe1;
    let mut rest = bytes.get(2..)?;
    // Segments of a marker and a length, up to the pixels.
    loop {
        match *rest {
            // Markers may be preceded by filling bytes.
            [0xff, 0xff, ..] => rest = &rest[1..],
            [0xff, START_OF_SCAN, ..] => return None,
            [0xff, marker, high, low, ..] => {
                let end = 2 + usize::from(u16::from_be_bytes([high, low]));
                let content = rest.get(4..end)?;
                if marker == APP1
                    && let Some(exif) = content.strip_prefix(b"Exif\0\0")
                {
                    return Orientation::from_exif_chunk(exif);
                }
                rest = &rest[end..];
            }
            _ => return None,
        }
    }
}
