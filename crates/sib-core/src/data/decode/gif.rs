//! GIF: the first frame on its canvas.

use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};
use image::{Rgb, RgbImage};

use super::limits::{MOST_BYTES, expect_size};

/// The first frame as Pillow shows it: what the frame leaves open of the canvas has the colour of
/// its transparent index, or of index 0.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let words = |error: DecodingError| error.to_string();
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    if let Some(most) = NonZeroU64::new(MOST_BYTES) {
        options.set_memory_limit(MemoryLimit::Bytes(most));
    }
    let mut decoder = options.read_info(bytes).map_err(words)?;
    let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let frame = decoder.read_next_frame().map_err(words)?.ok_or("no image in it")?;
    let (left, top) = (u32::from(frame.left), u32::from(frame.top));
    let frame_width = u32::from(frame.width);
    let width = width.max(left + frame_width);
    let height = height.max(top + u32::from(frame.height));
    expect_size(width, height)?;
    let palette = frame.palette.as_ref().or(global.as_ref()).ok_or("no palette in it")?;
    let (palette, _) = palette.as_chunks::<3>();
    let colour = |index: u8| -> Result<Rgb<u8>, String> {
        let colour = palette.get(usize::from(index)).copied().map(Rgb);
        colour.ok_or_else(|| format!("a pixel of colour {index}, but {} colours", palette.len()))
    };
    let mut image =
        RgbImage::from_pixel(width, height, colour(frame.transparent.unwrap_or_default())?);
    for (at, &index) in (0..).zip(frame.buffer.iter()) {
        image.put_pixel(left + at % frame_width, top + at / frame_width, colour(index)?);
    }
    Ok(image)
}
