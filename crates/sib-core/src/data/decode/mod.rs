//! Image files to 8-bit RGB, by content and not by file ending, with the pixels that Pillow gives.

mod gif;
mod jpeg;
pub(super) mod labels;
mod limits;
mod raster;

use std::path::Path;

use image::metadata::Orientation as Stored;
use image::{DynamicImage, ImageFormat, RgbImage};

use crate::{Error, Result, plain_file};
use limits::unreadable;

/// What is done with the orientation that cameras store in EXIF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    /// Turned upright, as a viewer shows it: photographs of users.
    Upright,
    /// Ignored: benchmarks, whose annotations refer to the pixels as stored, as their peers read
    /// them.
    AsStored,
}

/// Decodes a JPEG, PNG, BMP, GIF, WebP, TIFF or PNM file to 8-bit RGB; of several images in one
/// file the first.
///
/// JPEG is decoded by libjpeg-turbo's code, hence to the same bits as in Pillow and torchvision.
/// CMYK becomes RGB as in Pillow, Adobe's inverted values included. Greyscale and palettes are
/// expanded, of 16-bit values the high byte is kept, alpha is dropped (what is stored under it
/// shows, as with Pillow's `convert("RGB")`).
///
/// # Errors
/// Where the file cannot be read, is no such image, is damaged or cut short, or holds what would
/// not come out right (floating point, colours multiplied by alpha, JPEG within TIFF); the error
/// names it.
pub fn rgb(path: &Path, orientation: Orientation) -> Result<RgbImage> {
    let bytes = plain_file::read(path).map_err(Error::io("read", path))?;
    rgb_of(&bytes, path, orientation)
}

/// As [`rgb`], of the content of the file that errors name.
pub(super) fn rgb_of(bytes: &[u8], path: &Path, orientation: Orientation) -> Result<RgbImage> {
    let (image, stored) = match kind(bytes) {
        Some(ImageFormat::Jpeg) => jpeg::decode(bytes).map_err(unreadable(path))?,
        Some(ImageFormat::Gif) => {
            (gif::decode(bytes).map_err(unreadable(path))?, Stored::NoTransforms)
        }
        _ => raster::decode(path, bytes)?,
    };
    if orientation == Orientation::AsStored || stored == Stored::NoTransforms {
        return Ok(image);
    }
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(stored);
    Ok(image.into_rgb8())
}

/// What the first bytes say.
fn kind(bytes: &[u8]) -> Option<ImageFormat> {
    if bytes.starts_with(&[0xff, 0xd8]) {
        return Some(ImageFormat::Jpeg);
    }
    image::guess_format(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// The check sum that ends a chunk of a PNG file.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
        })
    }

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let mut file = Vec::new();
        RgbImage::new(1, 1).write_to(&mut Cursor::new(&mut file), format).unwrap();
        file
    }

    fn refused(name: &str, file: &[u8]) -> Error {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, file).unwrap();
        let error = rgb(&path, Orientation::AsStored).unwrap_err();
        assert!(error.to_string().contains(&format!("{name}: unreadable image: ")), "{error}");
        error
    }

    #[test]
    fn the_colour_profile_of_a_png_is_not_unpacked() {
        use std::io::Write;
        let png = encoded(ImageFormat::Png);
        // A name, the method, and what would be 300 MiB.
        let mut profile =
            flate2::write::ZlibEncoder::new(b"iCCPx\0\0".to_vec(), flate2::Compression::fast());
        for _ in 0..300 {
            profile.write_all(&vec![0; 1 << 20]).unwrap();
        }
        let chunk = profile.finish().unwrap();
        let mut heavy = png[..33].to_vec();
        heavy.extend((chunk.len() as u32 - 4).to_be_bytes());
        heavy.extend(&chunk);
        heavy.extend(crc32(&chunk).to_be_bytes());
        heavy.extend(&png[33..]);
        let path = Path::new("heavy.png");
        let before = peak_kib();
        for file in [&png, &heavy] {
            assert_eq!(rgb_of(file, path, Orientation::AsStored).unwrap().dimensions(), (1, 1));
        }
        let size = (1, 1);
        labels::foreground_of(&heavy, path, size, labels::MaskRule::NonZero).unwrap();
        assert!(peak_kib() - before < 200 << 10, "{} KiB", peak_kib() - before);
    }

    /// The most memory that this process has had.
    fn peak_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn a_small_file_that_claims_a_huge_image_is_refused() {
        let mut png = encoded(ImageFormat::Png);
        // Signature, length and name of the first chunk; then width and height.
        for side in [16..20, 20..24] {
            png[side].copy_from_slice(&60_000_u32.to_be_bytes());
        }
        let sum = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&sum.to_be_bytes());
        let error = refused("huge.png", &png);
        assert!(matches!(error, Error::Image { .. }), "{error}");

        let mut jpeg = encoded(ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
        let error = refused("huge.jpg", &jpeg).to_string();
        assert!(error.contains("60000x60000 pixels, expected at most 512 MiB"), "{error}");

        let mut gif = encoded(ImageFormat::Gif);
        gif[6..10].fill(0xff);
        let error = refused("huge.gif", &gif).to_string();
        assert!(error.contains("65535x65535 pixels"), "{error}");
    }
}
