//! Masks are labels: what is stored counts, not how.

use std::fs::File;
use std::path::Path;

use png::{BitDepth, ColorType};

use super::super::{MaskRule, MaskSource};

/// A PNG file of one row, of samples as they are.
fn write_row(path: &Path, colour: ColorType, depth: BitDepth, palette: &[u8], samples: &[u16]) {
    let width = (samples.len() / colour.samples()) as u32;
    let mut encoder = png::Encoder::new(File::create(path).unwrap(), width, 1);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if !palette.is_empty() {
        encoder.set_palette(palette);
    }
    let bits: Vec<u8> = samples
        .iter()
        .flat_map(|&sample| (0..depth as usize).rev().map(move |bit| (sample >> bit & 1) as u8))
        .collect();
    let bytes: Vec<u8> = bits
        .chunks(8)
        .map(|bits| bits.iter().enumerate().fold(0, |byte, (i, bit)| byte | bit << (7 - i)))
        .collect();
    encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
}

/// Which pixels of such a row are foreground.
fn foreground(
    rule: MaskRule,
    colour: ColorType,
    depth: BitDepth,
    palette: &[u8],
    samples: &[u16],
) -> Result<Vec<bool>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.png");
    write_row(&path, colour, depth, palette, samples);
    let source = MaskSource::File { path, rule };
    let mask = source.load((samples.len() / colour.samples()) as u32, 1);
    let mask = mask.map_err(|error| error.to_string())?;
    Ok(mask.iter().map(|&value| value > 0).collect())
}

/// Colours that say the opposite of the indices.
const PALETTE: [u8; 12] = [255, 255, 255, 0, 0, 0, 9, 200, 3, 0, 0, 0];

#[test]
fn any_value_but_0_is_foreground_at_any_depth() {
    use BitDepth::{Eight, Four, One, Sixteen, Two};
    use ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
    for (colour, depth, samples) in [
        (Grayscale, Sixteen, &[0, 1, 65535, 0][..]),
        (Grayscale, Sixteen, &[0, 256, 255, 0]),
        (Grayscale, Eight, &[0, 1, 255, 0]),
        (Grayscale, Four, &[0, 1, 15, 0]),
        (Grayscale, Two, &[0, 1, 3, 0]),
        (Grayscale, One, &[0, 1, 1, 0]),
        (Indexed, Eight, &[0, 1, 3, 0]),
        (Indexed, Two, &[0, 1, 2, 0]),
        (Indexed, One, &[0, 1, 1, 0]),
        (GrayscaleAlpha, Eight, &[0, 255, 1, 255, 9, 255, 0, 0]),
        (Rgb, Eight, &[0, 0, 0, 1, 1, 1, 0, 0, 200, 0, 0, 0]),
        (Rgb, Sixteen, &[0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0]),
        (Rgba, Eight, &[0, 0, 0, 255, 1, 1, 1, 255, 0, 0, 200, 255, 0, 0, 0, 0]),
    ] {
        let palette = if colour == Indexed { &PALETTE[..] } else { &[] };
        let got = foreground(MaskRule::NonZero, colour, depth, palette, samples);
        assert_eq!(got, Ok(vec![false, true, true, false]), "{colour:?} {depth:?}");
    }
}

#[test]
fn a_trimap_is_the_same_however_it_is_stored() {
    use BitDepth::{Eight, Four, Sixteen, Two};
    use ColorType::{Grayscale, Indexed, Rgb};
    for (colour, depth) in [
        (Grayscale, Two),
        (Grayscale, Four),
        (Grayscale, Eight),
        (Grayscale, Sixteen),
        (Indexed, Two),
        (Indexed, Eight),
        (Rgb, Eight),
        (Rgb, Sixteen),
    ] {
        let labels = [2_u16, 1, 3, 1, 2].into_iter();
        let samples: Vec<u16> =
            labels.flat_map(|label| std::iter::repeat_n(label, colour.samples())).collect();
        let palette = if colour == Indexed { &PALETTE[..] } else { &[] };
        let got = foreground(MaskRule::Trimap, colour, depth, palette, &samples);
        assert_eq!(got, Ok(vec![false, true, false, true, false]), "{colour:?} {depth:?}");
    }
}

#[test]
fn a_trimap_of_other_values_is_refused() {
    let refused = |colour, depth, samples: &[u16]| {
        foreground(MaskRule::Trimap, colour, depth, &[], samples).unwrap_err()
    };
    // Labels 0 to 3 that were stretched to shades of grey, and labels that begin at 0.
    let error = refused(ColorType::Grayscale, BitDepth::Eight, &[85, 170, 255]);
    assert!(error.contains("mask.png: value 85, expected 1, 2 or 3 at column 0, row 0"), "{error}");
    let error = refused(ColorType::Grayscale, BitDepth::Two, &[1, 0]);
    assert!(error.contains("value 0") && error.contains("column 1"), "{error}");
    let error = refused(ColorType::Rgb, BitDepth::Eight, &[1, 1, 1, 255, 0, 0]);
    assert!(error.contains("colour (255, 0, 0), expected a grey value"), "{error}");
    let error = refused(ColorType::GrayscaleAlpha, BitDepth::Eight, &[1, 255, 1, 128]);
    assert!(error.contains("transparent pixel"), "{error}");
}

#[test]
fn a_share_is_of_the_full_range() {
    use BitDepth::{Eight, Four, Sixteen};
    use ColorType::{Grayscale, Indexed};
    for (colour, depth, palette, samples) in [
        (Grayscale, Eight, &[][..], &[127, 128, 153, 102][..]),
        (Grayscale, Sixteen, &[], &[32767, 32768, 39321, 255]),
        (Grayscale, Four, &[], &[7, 8, 15, 0]),
        (Indexed, Eight, &[153, 153, 153, 102, 102, 102], &[1, 0, 0, 1]),
    ] {
        let got = foreground(MaskRule::Majority, colour, depth, palette, samples);
        assert_eq!(got, Ok(vec![false, true, true, false]), "{colour:?} {depth:?}");
    }
    let colours = foreground(MaskRule::Majority, Indexed, Eight, &[9, 0, 0], &[0]);
    assert!(colours.unwrap_err().contains("expected a grey value"));
}

#[test]
fn a_mask_that_loses_values_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.png");
    let grey = image::GrayImage::from_pixel(4, 4, image::Luma([1]));
    for format in [image::ImageFormat::Jpeg, image::ImageFormat::Bmp] {
        grey.save_with_format(&path, format).unwrap();
        let source = MaskSource::File { path: path.clone(), rule: MaskRule::NonZero };
        let error = source.load(4, 4).unwrap_err().to_string();
        assert!(error.contains("mask.png: unreadable image: no whole PNG"), "{error}");
    }
    grey.save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    let source = MaskSource::File { path, rule: MaskRule::NonZero };
    assert!(source.load(4, 4).is_err());
}
