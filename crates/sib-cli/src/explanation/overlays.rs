//! Heatmaps over their images.

use std::path::Path;

use anyhow::Result;
use image::{DynamicImage, RgbImage, imageops};
use sib_explain::render::{Heatmap, Shading, Style, overlay};

use super::request::Input;
use crate::images;

/// The difference, of maps that go from 0 to 1, from which on a colour is full: the same in all pictures, so that
/// maps that hardly differ look so.
pub(super) const FULL_DIFFERENCE: f32 = 0.5;

/// How differences are coloured.
pub(super) const SIGNED: Shading = Shading::SignedWithin(FULL_DIFFERENCE);

/// The map over the image.
pub(super) fn over(input: &Input<'_>, map: &Heatmap, style: &Style) -> RgbImage {
    overlay(&input.image.original, map, &input.image.plan.source_rect(), style)
}

/// A difference over the image without its colours, which would mix with those of the difference.
pub(super) fn over_grey(input: &Input<'_>, difference: &Heatmap, style: &Style) -> RgbImage {
    let grey = DynamicImage::ImageLuma8(imageops::grayscale(&input.image.original)).to_rgb8();
    overlay(
        &grey,
        difference,
        &input.image.plan.source_rect(),
        &Style { shading: SIGNED, ..*style },
    )
}

/// Writes a picture whole or not at all.
pub(super) fn save(picture: &RgbImage, path: &Path) -> Result<()> {
    images::write_png(picture, path)
}
