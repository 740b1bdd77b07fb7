//! Changes of colour for augmentation, by the definitions of Pillow's `ImageEnhance` and `ImageOps`.

use image::RgbImage;

/// A change of colour with its strength.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Colour {
    /// Towards (below 1) or away from (above 1) black.
    Brightness(f32),
    /// Towards or away from grey.
    Saturation(f32),
    /// Towards or away from the mean grey.
    Contrast(f32),
    /// Towards or away from a smoothed image.
    Sharpness(f32),
    /// Keeps this many upper bits, 1 to 8.
    Posterize(u8),
    /// Inverts the values from this one on.
    Solarize(u8),
    /// Stretches each channel to the full range.
    AutoContrast,
    /// Makes each channel's histogram flat.
    Equalize,
}

impl Colour {
    /// The image with its colours changed.
    pub(super) fn apply(self, mut image: RgbImage) -> RgbImage {
        match self {
            Self::Brightness(factor) => {
                each_pixel(&mut image, |pixel| pixel.map(|value| blend(0, value, factor)));
            }
            Self::Saturation(factor) => each_pixel(&mut image, |pixel| {
                let grey = grey(pixel);
                pixel.map(|value| blend(grey, value, factor))
            }),
            Self::Contrast(factor) => {
                let sum: u64 = image.pixels().map(|pixel| u64::from(grey(pixel.0))).sum();
                let mean = (sum as f64 / image.pixels().len().max(1) as f64 + 0.5) as u8;
                each_pixel(&mut image, |pixel| pixel.map(|value| blend(mean, value, factor)));
            }
            Self::Sharpness(factor) => sharpen(&mut image, factor),
            Self::Posterize(bits) => {
                let kept = !(u8::MAX.checked_shr(bits.into()).unwrap_or_default());
                each_pixel(&mut image, |pixel| pixel.map(|value| value & kept));
            }
            Self::Solarize(threshold) => each_pixel(&mut image, |pixel| {
                pixel.map(|value| if value < threshold { value } else { 255 - value })
            }),
            Self::AutoContrast => by_table(&mut image, |histogram| {
                let lowest = histogram.iter().position(|&count| count > 0).unwrap_or(0);
                let highest = histogram.iter().rposition(|&count| count > 0).unwrap_or(0);
                if highest <= lowest {
                    return None;
                }
                let scale = 255.0 / (highest - lowest) as f64;
                let offset = -(lowest as f64) * scale;
                Some(std::array::from_fn(|value| {
                    (value as f64 * scale + offset).clamp(0.0, 255.0) as u8
                }))
            }),
            Self::Equalize => by_table(&mut image, |histogram| {
                let total: u64 = histogram.iter().sum();
                let last = histogram.iter().rev().find(|&&count| count > 0).copied().unwrap_or(0);
                let step = (total - last) / 255;
                if step == 0 {
                    return None;
                }
                let mut sum = step / 2;
                Some(std::array::from_fn(|value| {
                    let new = (sum / step).min(255) as u8;
                    sum += histogram[value];
                    new
                }))
            }),
        }
        image
    }
}

fn each_pixel(image: &mut RgbImage, f: impl Fn([u8; 3]) -> [u8; 3]) {
    for pixel in image.pixels_mut() {
        pixel.0 = f(pixel.0);
    }
}

/// From `base` to `value` and beyond, cut to the range and truncated.
fn blend(base: u8, value: u8, factor: f32) -> u8 {
    let (base, value) = (f32::from(base), f32::from(value));
    (base + factor * (value - base)).clamp(0.0, 255.0) as u8
}

/// Luma of ITU-R 601 in 16-bit fixed point.
fn grey([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

/// Blends with the mean of the 3 × 3 neighbourhood, the middle counted five times; the border is
/// left as it is.
fn sharpen(image: &mut RgbImage, factor: f32) {
    let original = image.as_raw().clone();
    let (width, height) = (image.width() as usize, image.height() as usize);
    let row = 3 * width;
    for y in 1..height.saturating_sub(1) {
        for x in 3..row.saturating_sub(3) {
            let at = y * row + x;
            let three = |at: usize| -> u32 {
                [at - 3, at, at + 3].into_iter().map(|at| u32::from(original[at])).sum()
            };
            let sum = three(at - row) + three(at) + three(at + row) + 4 * u32::from(original[at]);
            let smooth = (f64::from(sum) / 13.0 + 0.5) as u8;
            image.as_flat_samples_mut().samples[at] = blend(smooth, original[at], factor);
        }
    }
}

/// Maps each channel by a table that its histogram determines; `None` leaves it.
fn by_table(image: &mut RgbImage, table: impl Fn(&[u64; 256]) -> Option<[u8; 256]>) {
    for channel in 0..3 {
        let mut histogram = [0_u64; 256];
        for pixel in image.pixels() {
            histogram[usize::from(pixel.0[channel])] += 1;
        }
        if let Some(table) = table(&histogram) {
            for pixel in image.pixels_mut() {
                pixel.0[channel] = table[usize::from(pixel.0[channel])];
            }
        }
    }
}
