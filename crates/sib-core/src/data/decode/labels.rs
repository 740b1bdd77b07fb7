//! Masks: PNG files whose values are labels, read as they are stored.

use std::io::Cursor;
use std::path::Path;

use image::{GrayImage, Luma};
use png::{BitDepth, ColorType, Decoder, Limits, Transformations};

use super::limits::{MOST_BYTES, unreadable};
use crate::{Error, Result, plain_file};

/// Which labels of a mask file are foreground. A label is the value as stored, of any depth, the
/// index where there is a palette, and the value of a colour whose channels agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskRule {
    /// 1 is the object, 2 the background, 3 the border between them; nothing else may occur.
    Trimap,
    /// The value is a share of the full range: foreground is more than half of it. No label, so
    /// that a palette's colours count.
    Majority,
    /// Any label but 0, and any colour but black.
    NonZero,
}

/// The foreground of a mask of `width × height` pixels: 255 where `rule` says so, 0 elsewhere.
///
/// # Errors
/// Where the file cannot be read, is no PNG, has another size, or holds a value for which `rule`
/// has no meaning; the error names it.
pub(in crate::data) fn foreground(
    path: &Path,
    (width, height): (u32, u32),
    rule: MaskRule,
) -> Result<GrayImage> {
    let bytes = plain_file::read(path).map_err(Error::io("read", path))?;
    foreground_of(&bytes, path, (width, height), rule)
}

/// As [`foreground`], of the content of the file that errors name.
pub(in crate::data) fn foreground_of(
    bytes: &[u8],
    path: &Path,
    (width, height): (u32, u32),
    rule: MaskRule,
) -> Result<GrayImage> {
    let failed = |error: png::DecodingError| {
        unreadable(path)(format!("no whole PNG, as masks must be: {error}"))
    };
    let limits = Limits { bytes: MOST_BYTES as usize };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(Transformations::IDENTITY);
    // It would be unpacked whole.
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(failed)?;
    expect_size_of_image(reader.info().size(), (width, height))
        .map_err(|problem| Error::malformed(path, problem))?;
    let palette = reader.info().palette.as_deref().unwrap_or_default().to_vec();
    let length = reader.output_buffer_size().unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|error| unreadable(path)(error.to_string()))?;
    bytes.resize(length, 0);
    let frame = reader.next_frame(&mut bytes).map_err(failed)?;
    let labels = Labels {
        depth: frame.bit_depth,
        colour: frame.color_type,
        palette,
        line: frame.line_size,
        bytes,
    };
    let mut mask = GrayImage::new(width, height);
    for (x, y, pixel) in mask.enumerate_pixels_mut() {
        let foreground = labels.is_foreground(x, y, rule).map_err(|problem| {
            Error::malformed(path, format!("{problem} at column {x}, row {y}"))
        })?;
        *pixel = Luma([if foreground { 255 } else { 0 }]);
    }
    Ok(mask)
}

/// Checks that a mask has the size of its image, (width, height) each.
pub(in crate::data) fn expect_size_of_image(
    mask: (u32, u32),
    image: (u32, u32),
) -> Result<(), String> {
    if mask == image {
        return Ok(());
    }
    let ((w, h), (width, height)) = (mask, image);
    Err(format!("mask of {w}x{h} pixels, expected its image's {width}x{height}"))
}

/// A label image as it is stored.
struct Labels {
    depth: BitDepth,
    colour: ColorType,
    /// Red, green and blue of each index.
    palette: Vec<u8>,
    /// Bytes a row.
    line: usize,
    bytes: Vec<u8>,
}

impl Labels {
    fn is_foreground(&self, x: u32, y: u32, rule: MaskRule) -> Result<bool, String> {
        match rule {
            MaskRule::NonZero => Ok(self.opaque(x, y)?.iter().any(|&value| value > 0)),
            MaskRule::Trimap => match grey(self.opaque(x, y)?)? {
                1 => Ok(true),
                2 | 3 => Ok(false),
                other => Err(format!("value {other}, expected 1, 2 or 3")),
            },
            MaskRule::Majority => {
                let (share, full) = self.share(x, y)?;
                Ok(2 * u32::from(share) > u32::from(full))
            }
        }
    }

    /// The largest value that the depth has.
    fn full(&self) -> u16 {
        u16::MAX >> (16 - self.depth as u32)
    }

    /// Sample `channel` of a pixel.
    fn sample(&self, x: u32, y: u32, channel: usize) -> u16 {
        let row = &self.bytes[y as usize * self.line..];
        let index = x as usize * self.colour.samples() + channel;
        let depth = self.depth as usize;
        match self.depth {
            BitDepth::Sixteen => u16::from_be_bytes([row[2 * index], row[2 * index + 1]]),
            BitDepth::Eight => row[index].into(),
            // Several in a byte, the first in its highest bits.
            BitDepth::One | BitDepth::Two | BitDepth::Four => {
                let (byte, place) = (index * depth / 8, index * depth % 8);
                u16::from(row[byte] >> (8 - depth - place)) & self.full()
            }
        }
    }

    /// The value, the index into the palette, or the three channels of a pixel that nothing shines
    /// through: the same label however it is stored.
    fn opaque(&self, x: u32, y: u32) -> Result<[u16; 3], String> {
        let sample = |channel| self.sample(x, y, channel);
        let (label, alpha) = match self.colour {
            ColorType::Grayscale | ColorType::Indexed => ([sample(0); 3], self.full()),
            ColorType::GrayscaleAlpha => ([sample(0); 3], sample(1)),
            ColorType::Rgb => ([0, 1, 2].map(sample), self.full()),
            ColorType::Rgba => ([0, 1, 2].map(sample), sample(3)),
        };
        // Whether a label that does not show counts, nobody can tell; 0 is background either way.
        if alpha != self.full() && label != [0; 3] {
            return Err("a transparent pixel that is not 0, expected opaque ones".to_owned());
        }
        Ok(label)
    }

    /// The grey value and the full range: that of its colour where there is a palette.
    fn share(&self, x: u32, y: u32) -> Result<(u16, u16), String> {
        if self.colour != ColorType::Indexed {
            return Ok((grey(self.opaque(x, y)?)?, self.full()));
        }
        let index = self.sample(x, y, 0);
        let (palette, _) = self.palette.as_chunks::<3>();
        let colour = palette.get(usize::from(index));
        let colour = colour.ok_or_else(|| format!("no colour {index} in the palette"))?;
        Ok((grey(colour.map(u16::from))?, 255))
    }
}

/// The one value of a pixel whose channels agree.
fn grey([r, g, b]: [u16; 3]) -> Result<u16, String> {
    if r == g && g == b {
        return Ok(r);
    }
    Err(format!("colour ({r}, {g}, {b}), expected a grey value"))
}
