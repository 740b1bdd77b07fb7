//! A heatmap over the image that it explains.

use image::{Rgb, RgbImage, imageops};
use sib_core::data::BBox;
use sib_core::{Error, Result};
use tch::{Device, Kind, Tensor};

use super::colormap::Colormap;
use super::heatmap::{Heatmap, percentile};

/// How values become colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shading {
    /// From the lowest to the highest value.
    Sequential(Colormap),
    /// Around 0: blue is negative, red positive, white nothing.
    Signed,
    /// The same with the last colours at this magnitude, whatever the map's own: for maps that are
    /// compared.
    SignedWithin(f32),
}

impl Shading {
    /// The colour at `place` from 0, the first, to 1, the last.
    pub fn color(self, place: f32) -> Rgb<u8> {
        match self {
            Self::Sequential(colormap) => colormap.color(place),
            Self::Signed | Self::SignedWithin(_) => Colormap::RedBlue.color(place),
        }
    }
}

/// How a heatmap is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    /// Colours.
    pub shading: Shading,
    /// Opacity of the heatmap in `[0,1]`; 1 hides the image.
    pub alpha: f32,
    /// Per cent of the pixels, those with the highest values, that all get the last colour.
    pub outlier_pct: f32,
}

impl Default for Style {
    fn default() -> Self {
        Self { shading: Shading::Sequential(Colormap::default()), alpha: 0.5, outlier_pct: 1.0 }
    }
}

impl Style {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.alpha) {
            return Err(Error::invalid("alpha", self.alpha, "a number from 0 to 1"));
        }
        if !(0.0..100.0).contains(&self.outlier_pct) {
            return Err(Error::invalid("outlier_pct", self.outlier_pct, "0 to less than 100"));
        }
        Ok(())
    }
}

/// What a flat heatmap is drawn with: no colour map has it.
const NEUTRAL: Rgb<u8> = Rgb([128, 128, 128]);
/// Brightness of what the network does not see.
const UNSEEN: f32 = 0.45;

/// Draws `heatmap` over `image`, at the image's own size.
///
/// `seen` is the rectangle of the image, in its pixels, that the network's input shows and the
/// heatmap covers; it is drawn as part of the image, what lies outside it dimmed. Flat heatmaps are
/// drawn in neutral grey.
pub fn overlay(image: &RgbImage, heatmap: &Heatmap, seen: &BBox, style: &Style) -> RgbImage {
    let scaled = match style.shading {
        Shading::Sequential(_) => heatmap.normalised(style.outlier_pct),
        Shading::Signed => heatmap.normalised_signed(style.outlier_pct),
        Shading::SignedWithin(magnitude) => heatmap.scaled_within(magnitude),
    };
    let neutral = match style.shading {
        Shading::Sequential(_) => heatmap.is_flat(),
        Shading::Signed => heatmap.range() == (0.0, 0.0),
        // No difference is a value like any other.
        Shading::SignedWithin(_) => false,
    };
    let color = |value: f32| match style.shading {
        _ if neutral => NEUTRAL,
        Shading::Sequential(_) => style.shading.color(value),
        Shading::Signed | Shading::SignedWithin(_) => style.shading.color(0.5 + 0.5 * value),
    };
    let (columns, rows) = scaled.size();
    let (sx, sy) = (columns as f32 / (seen.x1 - seen.x0), rows as f32 / (seen.y1 - seen.y0));
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let pixel = image.get_pixel(x, y);
        let (cx, cy) = (x as f32 + 0.5, y as f32 + 0.5);
        if cx < seen.x0 || cx > seen.x1 || cy < seen.y0 || cy > seen.y1 {
            return Rgb(pixel.0.map(|value| (f32::from(value) * UNSEEN) as u8));
        }
        let value = scaled.sample((cx - seen.x0) * sx, (cy - seen.y0) * sy);
        blend(*pixel, color(value), style.alpha)
    })
}

/// The part of `image` that the network's input shows: for rows of pictures of one shape.
pub fn seen_part(image: &RgbImage, seen: &BBox) -> RgbImage {
    let (width, height) = (image.width() as f32, image.height() as f32);
    let (x0, y0) = (seen.x0.clamp(0.0, width - 1.0), seen.y0.clamp(0.0, height - 1.0));
    let (x1, y1) = (seen.x1.clamp(x0 + 1.0, width), seen.y1.clamp(y0 + 1.0, height));
    let [x0, y0, x1, y1] = [x0, y0, x1, y1].map(|position| position.round() as u32);
    imageops::crop_imm(image, x0, y0, x1 - x0, y1 - y0).to_image()
}

/// A signed attribution `[3,H,W]` as an image of its own: grey is 0, the channels are its colours.
///
/// # Errors
/// [`Error::Shape`] for another shape, [`Error::NonFinite`] for infinities and NaN.
pub fn signed_image(attribution: &Tensor, outlier_pct: f32) -> Result<RgbImage> {
    let &[3, height, width] = &attribution.size()[..] else {
        return Err(Error::shape("attribution", attribution, "[3,H,W]"));
    };
    let pixels = attribution.detach().permute([1, 2, 0]).to_device(Device::Cpu);
    let pixels = pixels.to_kind(Kind::Float).contiguous().flatten(0, 2);
    let values = Vec::<f32>::try_from(&pixels)?;
    if values.is_empty() {
        return Err(Error::shape("attribution", attribution, "[3,H,W], not empty"));
    }
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Error::NonFinite { what: "a value of the attribution".to_owned() });
    }
    let magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
    let largest = magnitudes.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let cut = percentile(magnitudes, 100.0 - outlier_pct);
    let scale = if cut > 0.0 { cut } else { largest };
    let bytes = values.iter().map(|value| (127.5 + 127.5 * (value / scale).clamp(-1.0, 1.0)) as u8);
    RgbImage::from_raw(width as u32, height as u32, bytes.collect())
        .ok_or_else(|| Error::shape("attribution", attribution, "[3,H,W]"))
}

fn blend(image: Rgb<u8>, heat: Rgb<u8>, alpha: f32) -> Rgb<u8> {
    Rgb(std::array::from_fn(|channel| {
        let (image, heat) = (f32::from(image[channel]), f32::from(heat[channel]));
        (image + alpha * (heat - image)).round() as u8
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heatmap(rows: &[[f32; 2]; 2]) -> Heatmap {
        Heatmap::new(&Tensor::from_slice2(rows)).unwrap()
    }

    const OPAQUE: Style =
        Style { shading: Shading::Sequential(Colormap::Grey), alpha: 1.0, outlier_pct: 0.0 };

    #[test]
    fn the_heatmap_lies_where_the_network_looked() {
        let image = RgbImage::from_pixel(8, 6, Rgb([200, 100, 0]));
        // The input shows columns 2 to 6 and rows 1 to 5.
        let seen = BBox::new(2.0, 1.0, 6.0, 5.0);
        let drawn = overlay(&image, &heatmap(&[[0.0, 1.0], [0.0, 1.0]]), &seen, &OPAQUE);
        assert_eq!(drawn.dimensions(), (8, 6));
        assert_eq!(drawn.get_pixel(1, 3).0, [90, 45, 0]);
        assert_eq!(drawn.get_pixel(4, 5).0, [90, 45, 0]);
        assert_eq!(drawn.get_pixel(2, 1).0, [0; 3]);
        assert_eq!(drawn.get_pixel(5, 4).0, [255; 3]);
        let middle = drawn.get_pixel(4, 2).0[0];
        assert!((128..255).contains(&middle), "{middle}");
    }

    #[test]
    fn the_seen_part_is_cut_out() {
        let image = RgbImage::from_fn(8, 6, |x, y| Rgb([x as u8, y as u8, 0]));
        let part = seen_part(&image, &BBox::new(1.6, 1.0, 6.4, 5.0));
        assert_eq!(part.dimensions(), (4, 4));
        assert_eq!(part.get_pixel(0, 0).0, [2, 1, 0]);
        let all = seen_part(&image, &BBox::new(-1.0, 0.0, 8.0, 6.2));
        assert_eq!(all, image);
    }

    #[test]
    fn alpha_mixes_image_and_heatmap() {
        let image = RgbImage::from_pixel(2, 2, Rgb([100, 200, 50]));
        let seen = BBox::new(0.0, 0.0, 2.0, 2.0);
        let map = heatmap(&[[0.0, 1.0], [0.0, 1.0]]);
        let at = |alpha| overlay(&image, &map, &seen, &Style { alpha, ..OPAQUE });
        assert_eq!(at(0.0), image);
        assert_eq!(at(0.25).get_pixel(0, 0).0, [75, 150, 38]);
    }

    #[test]
    fn flat_maps_are_drawn_neutral() {
        let image = RgbImage::from_pixel(2, 2, Rgb([255, 0, 0]));
        let seen = BBox::new(0.0, 0.0, 2.0, 2.0);
        let flat = heatmap(&[[3.0; 2]; 2]);
        let drawn = overlay(&image, &flat, &seen, &OPAQUE);
        assert!(drawn.pixels().all(|&pixel| pixel == NEUTRAL));
        // A signed map is neutral where it is 0, and one colour where it is one value.
        let signed = Style { shading: Shading::Signed, ..OPAQUE };
        let zero = heatmap(&[[0.0; 2]; 2]);
        assert!(overlay(&image, &zero, &seen, &signed).pixels().all(|&pixel| pixel == NEUTRAL));
        let red = overlay(&image, &flat, &seen, &signed);
        assert!(red.pixels().all(|pixel| pixel[0] > pixel[2]));
    }

    #[test]
    fn signed_colours_are_red_above_and_blue_below_zero() {
        let image = RgbImage::new(2, 2);
        let seen = BBox::new(0.0, 0.0, 2.0, 2.0);
        let style = Style { shading: Shading::Signed, ..OPAQUE };
        let drawn = overlay(&image, &heatmap(&[[-2.0, 2.0], [0.0, 1.0]]), &seen, &style);
        let [blue, red] = [drawn.get_pixel(0, 0).0, drawn.get_pixel(1, 0).0];
        assert!(blue[2] > blue[0] + 50 && red[0] > red[2] + 50, "{blue:?} {red:?}");
        let white = drawn.get_pixel(0, 1).0;
        assert!(white.iter().all(|&value| value > 235), "{white:?}");
    }

    #[test]
    fn maps_on_one_scale_keep_their_differences() {
        let image = RgbImage::new(2, 2);
        let seen = BBox::new(0.0, 0.0, 2.0, 2.0);
        let style = Style { shading: Shading::SignedWithin(4.0), ..OPAQUE };
        let red = |value| {
            let map = heatmap(&[[value; 2]; 2]);
            let pixel = overlay(&image, &map, &seen, &style).get_pixel(0, 0).0;
            i32::from(pixel[0]) - i32::from(pixel[2])
        };
        assert!(red(0.0).abs() < 10 && red(1.0) > 30 && red(-1.0) < -30);
        // A map's own range would make them one colour.
        assert!(red(1.0) < red(2.0) && red(2.0) != red(4.0));
        assert_eq!(red(4.0), red(9.0));
    }

    #[test]
    fn a_signed_attribution_is_grey_where_it_is_zero() {
        let zero = Tensor::zeros([3, 2, 2], (Kind::Float, Device::Cpu));
        assert!(signed_image(&zero, 0.0).unwrap().pixels().all(|pixel| pixel.0 == [127; 3]));
        let one_red = zero.copy();
        let _ = one_red.get(0).get(0).get(1).fill_(0.5);
        let image = signed_image(&one_red, 0.0).unwrap();
        assert_eq!(image.get_pixel(1, 0).0, [255, 127, 127]);
    }
}
