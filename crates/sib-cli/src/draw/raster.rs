//! SVG to PNG, with the program's own font and no other.

use std::sync::Arc;

use anyhow::{Context, Result};
use image::RgbImage;
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

/// Pixels of an inch.
pub const DPI: f32 = 300.0;
const INCHES_PER_METRE: f32 = 1.0 / 0.0254;

/// The document as PNG at 300 pixels an inch of its physical size, which the file states.
///
/// # Errors
/// When `svg` is no SVG document with a size.
pub fn to_png(svg: &str) -> Result<Vec<u8>> {
    let mut fonts = fontdb::Database::new();
    for face in [dejavu::sans::regular(), dejavu::sans::bold()] {
        fonts.load_font_data(face.to_vec());
    }
    let options = Options { dpi: DPI, fontdb: Arc::new(fonts), ..Options::default() };
    let tree = Tree::from_str(svg, &options).context("cannot read the SVG document")?;
    let size = tree.size().to_int_size();
    let mut pixels = Pixmap::new(size.width(), size.height()).context("the picture is empty")?;
    // Also where the page ends within a pixel.
    pixels.fill(Color::WHITE);
    resvg::render(&tree, Transform::identity(), &mut pixels.as_mut());
    let opaque = pixels.data().chunks_exact(4).flat_map(|rgba| &rgba[..3]).copied().collect();
    let picture = RgbImage::from_raw(size.width(), size.height(), opaque);
    encode(&picture.context("the picture is empty")?, Some(DPI))
}

/// A picture as PNG that states its pixels an inch, where they are given.
pub fn encode(picture: &RgbImage, dpi: Option<f32>) -> Result<Vec<u8>> {
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_pixel_dims(dpi.map(|dpi| {
        let per_metre = (dpi * INCHES_PER_METRE).round() as u32;
        png::PixelDimensions { xppu: per_metre, yppu: per_metre, unit: png::Unit::Meter }
    }));
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.as_raw())?;
    writer.finish()?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::super::svg::{Anchor, PT_PER_MM, Svg, Type};
    use super::*;

    #[test]
    fn a_column_is_85_mm_wide_at_300_dpi() {
        let mut svg = Svg::new(85.0 * PT_PER_MM, 20.0 * PT_PER_MM);
        svg.text((10.0, 30.0), &Type::new(12.0, Anchor::Start), "ink");
        let png = to_png(&svg.finish()).unwrap();
        let reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
        assert_eq!((reader.info().width, reader.info().height), (1004, 236));
        assert_eq!(reader.info().pixel_dims.unwrap().xppu, 11811);
        let image = image::load_from_memory(&png).unwrap().to_rgb8();
        let dark = image.pixels().filter(|pixel| pixel[0] < 128).count();
        assert!((300..10_000).contains(&dark), "{dark} pixels of text");
        assert!(to_png("<svg").is_err());
    }
}
