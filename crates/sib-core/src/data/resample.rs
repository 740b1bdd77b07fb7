//! Images and masks at another size.
//!
//! Of images to the last bit as Pillow makes them, whose pixels networks are trained and explained on:
//! one level in some hundred pixels is enough to change the order of a gradient's. Libraries that do the
//! same sums with shorter weights differ by that much (decision K3).

use std::borrow::Cow;

use image::{GrayImage, RgbImage};

use crate::{Error, Result};

/// More than any image of a benchmark; a guard against long and narrow ones.
const MOST_PIXELS: u64 = 1 << 28;

const CHANNELS: usize = 3;
/// Fractional bits of the weights: 8 bits of a value and 2 of headroom are left of 32.
const WEIGHT_BITS: u32 = 22;
/// One half, with which a sum begins, so that cutting it off rounds it.
const HALF: i32 = 1 << (WEIGHT_BITS - 1);

/// Bilinear with antialiasing: a triangle filter as wide as the scale, rows first, 8-bit between the
/// passes.
///
/// # Errors
/// Where the resized image would have no pixel, or more than 2^28.
pub(super) fn resize(image: &RgbImage, width: u32, height: u32) -> Result<RgbImage> {
    let refused = |got: String| Error::invalid("image size", got, "a result of 1 to 2^28 pixels");
    let (from_width, from_height) = image.dimensions();
    let pixels = [(width, height), (width, from_height)].map(|(w, h)| u64::from(w) * u64::from(h));
    if pixels.iter().any(|pixels| !(1..=MOST_PIXELS).contains(pixels)) || image.is_empty() {
        return Err(refused(format!("{from_width}x{from_height} resized to {width}x{height}")));
    }
    let side = |length: u32| length as usize;
    let mut values = Cow::Borrowed(image.as_raw().as_slice());
    if width != from_width {
        let taps = taps(side(from_width), side(width));
        values = Cow::Owned(resize_rows(&values, side(from_width), &taps));
    }
    if height != from_height {
        let taps = taps(side(from_height), side(height));
        values = Cow::Owned(resize_columns(&values, side(width) * CHANNELS, &taps));
    }
    let (values_there, expected) = (values.len(), format!("{width}x{height}"));
    RgbImage::from_raw(width, height, values.into_owned())
        .ok_or_else(|| refused(format!("{values_there} values for {expected}")))
}

/// The values that one value of the result is a weighted sum of.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// For each of `to` places those among `from`: a triangle of half width `max(from / to, 1)` around the
/// place's centre, with weights that add up to 1.
fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let half_width = scale.max(1.0);
    let of_place = |place: usize| {
        let centre = (place as f64 + 0.5) * scale;
        // Cut towards zero after one half was added, below and above.
        let first = (centre - half_width + 0.5).max(0.0) as usize;
        let end = ((centre + half_width + 0.5) as usize).min(from);
        let triangle = |at: usize| {
            let distance = (at as f64 - centre + 0.5) * (1.0 / half_width);
            (1.0 - distance.abs()).max(0.0)
        };
        let weights: Vec<f64> = (first..end).map(triangle).collect();
        let sum: f64 = weights.iter().sum();
        let rounded = |weight: f64| (0.5 + weight / sum * f64::from(1 << WEIGHT_BITS)) as i32;
        Taps { first, weights: weights.into_iter().map(rounded).collect() }
    };
    (0..to).map(of_place).collect()
}

/// The 8-bit value of a sum.
fn rounded(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}

/// Every row of `values`, each of `width` pixels, at the width that `taps` has.
fn resize_rows(values: &[u8], width: usize, taps: &[Taps]) -> Vec<u8> {
    let rows = values.len() / (width * CHANNELS);
    let mut resized = vec![0; rows * taps.len() * CHANNELS];
    let targets = resized.chunks_exact_mut(taps.len() * CHANNELS);
    for (row, target) in values.chunks_exact(width * CHANNELS).zip(targets) {
        let (row, _) = row.as_chunks::<CHANNELS>();
        let (target, _) = target.as_chunks_mut::<CHANNELS>();
        for (pixel, Taps { first, weights }) in target.iter_mut().zip(taps) {
            let mut sums = [HALF; CHANNELS];
            for (values, weight) in row[*first..].iter().zip(weights) {
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += i32::from(*value) * weight;
                }
            }
            *pixel = sums.map(rounded);
        }
    }
    resized
}

/// `values` in rows of `row` bytes at the height that `taps` has.
fn resize_columns(values: &[u8], row: usize, taps: &[Taps]) -> Vec<u8> {
    let mut resized = vec![0; taps.len() * row];
    let mut sums = vec![HALF; row];
    for (target, Taps { first, weights }) in resized.chunks_exact_mut(row).zip(taps) {
        sums.fill(HALF);
        for (values, weight) in values[first * row..].chunks_exact(row).zip(weights) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += i32::from(*value) * weight;
            }
        }
        for (value, sum) in target.iter_mut().zip(&sums) {
            *value = rounded(*sum);
        }
    }
    resized
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
