//! Heatmaps over their images.

use std::path::Path;

use anyhow::{Context, Result};
use image::RgbImage;
use sib_explain::render::{Heatmap, Shading, Style, overlay};

use super::request::Input;

/// The style of differences.
pub(super) fn signed(style: Style) -> Style {
    Style { shading: Shading::Signed, ..style }
}

/// The map over the image.
pub(super) fn over(input: &Input<'_>, map: &Heatmap, style: &Style) -> RgbImage {
    overlay(&input.image.original, map, &input.image.plan.source_rect(), style)
}

/// Writes a picture as its name ends.
pub(super) fn save(picture: &RgbImage, path: &Path) -> Result<()> {
    picture.save(path).with_context(|| format!("{}: cannot write", path.display()))
}
