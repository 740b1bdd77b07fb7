//! The formats that the `image` crate decodes as Pillow does: PNG, BMP, WebP, TIFF, PNM.

use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{
    DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Limits, Pixel, RgbImage,
};
use tiff::ColorType;
use tiff::decoder::Decoder;
use tiff::tags::{CompressionMethod, ExtraSamples, Tag};

use super::limits::{MOST_BYTES, unreadable};
use crate::{Error, Result};

/// The pixels and the orientation that the file gives them.
///
/// # Errors
/// Where it is no image, is damaged or cut short, or would not come out right.
pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<(RgbImage, Orientation)> {
    let failed = |source| Error::Image { path: path.to_owned(), source };
    let format = image::guess_format(bytes).map_err(failed)?;
    let fault = match format {
        ImageFormat::Tiff => tiff_fault(bytes),
        ImageFormat::WebP => webp_fault(bytes),
        _ => None,
    };
    if let Some(fault) = fault {
        return Err(unreadable(path)(fault.to_owned()));
    }
    let bytes = if format == ImageFormat::Png { without_profile(bytes) } else { bytes.into() };
    let mut decoder =
        ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(failed)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MOST_BYTES);
    let stored = decoder.total_bytes();
    // Packed pixels and palettes grow to RGB.
    let (width, height) = decoder.dimensions();
    let rgb = 3 * u64::from(width) * u64::from(height);
    limits.reserve(stored.max(rgb)).map_err(failed)?;
    let orientation = decoder.orientation().map_err(failed)?;
    let decoded = DynamicImage::from_decoder(decoder).map_err(failed)?;
    let image = to_rgb8(decoded, format).map_err(unreadable(path))?;
    Ok((image, orientation))
}

/// A PNG file without its colour profile: nobody looks at it, and the decoder would unpack all of it, up to a thousand
/// times its size. From a chunk that is cut short on, the file is as it was.
fn without_profile(png: &[u8]) -> Cow<'_, [u8]> {
    let is_profile = |chunk: &&[u8]| chunk.get(4..8) == Some(b"iCCP");
    let chunks = chunks(png);
    if !chunks.iter().any(is_profile) {
        return png.into();
    }
    chunks.into_iter().filter(|chunk| !is_profile(chunk)).collect::<Vec<_>>().concat().into()
}

/// The signature of a PNG file, each of its chunks (length, name, content, check sum), and what is none.
fn chunks(png: &[u8]) -> Vec<&[u8]> {
    let (signature, mut rest) = png.split_at(8.min(png.len()));
    let mut chunks = vec![signature];
    while let Some(length) = rest.first_chunk::<4>() {
        let end = (u32::from_be_bytes(*length) as usize).saturating_add(12);
        let Some((chunk, next)) = rest.split_at_checked(end) else { break };
        chunks.push(chunk);
        rest = next;
    }
    chunks.push(rest);
    chunks
}

/// Of 16-bit values the high byte, as libpng and Pillow; PNM's are scaled from the maximum that the
/// file declares, and rounded.
fn to_rgb8(decoded: DynamicImage, format: ImageFormat) -> Result<RgbImage, String> {
    Ok(match decoded {
        DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_) => {
            return Err("floating-point pixels, expected 8 or 16 bits".to_owned());
        }
        decoded if format == ImageFormat::Pnm => decoded.into_rgb8(),
        DynamicImage::ImageLuma16(image) => high_bytes(&image, [0; 3]),
        DynamicImage::ImageLumaA16(image) => high_bytes(&image, [0; 3]),
        DynamicImage::ImageRgb16(image) => high_bytes(&image, [0, 1, 2]),
        DynamicImage::ImageRgba16(image) => high_bytes(&image, [0, 1, 2]),
        decoded => decoded.into_rgb8(),
    })
}

/// `channels` are those that become red, green and blue.
fn high_bytes<P: Pixel<Subpixel = u16>>(
    image: &ImageBuffer<P, Vec<u16>>,
    channels: [usize; 3],
) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let values = image.get_pixel(x, y).channels();
        image::Rgb(channels.map(|channel| (values[channel] >> 8) as u8))
    })
}

/// What of a TIFF would be decoded, but not to the pixels that it has elsewhere.
fn tiff_fault(bytes: &[u8]) -> Option<&'static str> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).ok()?;
    let mut values = |tag| decoder.find_tag_unsigned_vec::<u16>(tag).ok().flatten();
    let compression = values(Tag::Compression).unwrap_or_default();
    let extra = values(Tag::ExtraSamples).unwrap_or_default();
    let jpeg = [CompressionMethod::JPEG, CompressionMethod::ModernJPEG].map(|it| it.to_u16());
    if compression.iter().any(|compression| jpeg.contains(compression)) {
        // Its decoder is not libjpeg-turbo.
        return Some("JPEG within a TIFF, expected a JPEG file or another compression");
    }
    if extra.contains(&ExtraSamples::AssociatedAlpha.to_u16()) {
        return Some("colours multiplied by alpha, expected alpha apart");
    }
    match decoder.colortype().ok()? {
        ColorType::CMYK(bits) | ColorType::CMYKA(bits) if bits != 8 => {
            Some("CMYK of more than 8 bits, expected 8")
        }
        _ => None,
    }
}

/// A RIFF file knows its length; the decoder does not ask.
fn webp_fault(bytes: &[u8]) -> Option<&'static str> {
    let length = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    (u64::from(length) + 8 > bytes.len() as u64).then_some("a WebP that ends early")
}
