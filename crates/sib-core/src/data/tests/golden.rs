//! Parity with torchvision, Pillow and SciPy (scripts/golden/data.py).

use std::collections::HashMap;

use image::{GrayImage, Rgb, RgbImage};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::super::affine::Affine;
use super::super::colour::Colour;
use super::super::decode::{self, Orientation};
use super::super::mat5::{self, Value};
use super::super::plan::{Plan, Step};
use super::super::transform::{Operation, Transform};
use crate::testing::{formula_tensor, golden_path};

fn golden(name: &str) -> HashMap<String, Tensor> {
    Tensor::read_safetensors(golden_path(name)).unwrap().into_iter().collect()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    Vec::try_from(tensor.contiguous().reshape([-1])).unwrap()
}

fn noise(width: u32, height: u32) -> RgbImage {
    let name = format!("data.{width}x{height}");
    let u = formula_tensor(&name, &[height.into(), width.into(), 3]);
    let values = (u + 1.0) * 128.0;
    RgbImage::from_raw(width, height, bytes(&values.to_kind(tch::Kind::Uint8))).unwrap()
}

fn waves(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (f64::from(x), f64::from(y));
        let waves = [(0.31 * x + 0.2 * y).sin(), (0.17 * x - 0.23 * y).cos(), (0.05 * x * y).sin()];
        Rgb(waves.map(|wave| (127.5 + 100.0 * wave) as u8))
    })
}

/// Mean and largest absolute difference, in levels.
fn differences(a: &[u8], b: &[u8]) -> (f64, u8) {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let sum: f64 = differences.clone().map(f64::from).sum();
    (sum / a.len() as f64, differences.max().unwrap())
}

#[test]
fn resize_and_crop_equal_torchvisions() {
    let golden = golden("data_resize.safetensors");
    for (width, height, short_px, side_px) in
        [(53, 37, 24, 16), (37, 53, 23, 22), (20, 31, 48, 47), (64, 64, 33, 32), (90, 31, 30, 29)]
    {
        let image = noise(width, height);
        for (what, operations) in [
            ("resized", vec![Operation::Resize { short_px }]),
            ("cropped", vec![Operation::Resize { short_px }, Operation::CenterCrop { side_px }]),
        ] {
            let expected = &golden[&format!("{width}x{height}.{what}")];
            let transform = Transform { operations, mean: [0.0; 3], std: [1.0; 3] };
            let plan = transform.fixed_plan(width, height);
            let got = plan.image(&image).unwrap();
            assert_eq!(
                expected.size(),
                [i64::from(got.height()), i64::from(got.width()), 3],
                "{width}x{height} {what}"
            );
            // The same sums of the same whole numbers.
            assert!(got.as_raw() == &bytes(expected), "{width}x{height} {what}");
        }
    }
}

#[test]
fn random_crops_have_torchvisions_distribution() {
    let golden = golden("data_crops.safetensors");
    const DRAWS: usize = 20_000;
    let transform = Transform::augmented(32, [0.0; 3], [1.0; 3]).unwrap();
    for (width, height) in [(500, 375), (90, 400)] {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut drawn: HashMap<&str, Vec<f64>> = HashMap::new();
        for _ in 0..DRAWS {
            let plan = transform.plan(width, height, &mut rng);
            let [Step::Crop { x, y, width: w, height: h }, ..] = *plan.steps() else {
                panic!("expected a crop first, got {:?}", plan.steps());
            };
            let (x, y, w, h) = (f64::from(x), f64::from(y), f64::from(w), f64::from(h));
            for (name, value) in [
                ("x", x),
                ("y", y),
                ("width", w),
                ("height", h),
                ("area", w * h),
                ("aspect", w / h),
            ] {
                drawn.entry(name).or_default().push(value);
            }
        }
        // Two-sample Kolmogorov–Smirnov at a level of 1e-4: 2.23·sqrt(2/n).
        let tolerance = 2.23 * (2.0 / DRAWS as f64).sqrt();
        for (name, mut values) in drawn {
            values.sort_by(f64::total_cmp);
            let quantiles: Vec<f64> =
                Vec::try_from(&golden[&format!("{width}x{height}.{name}")]).unwrap();
            for (i, quantile) in quantiles.into_iter().enumerate() {
                let level = (i as f64 + 0.5) / 100.0;
                // Ties make a range of levels of one value. Quantiles are interpolated, hence the
                // small slack around the value itself.
                let below = values.partition_point(|&v| v < quantile - 1e-6) as f64 / DRAWS as f64;
                let up_to = values.partition_point(|&v| v <= quantile + 1e-6) as f64 / DRAWS as f64;
                assert!(
                    below - tolerance <= level && level <= up_to + tolerance,
                    "{width}x{height} {name}: level {level} lies in [{below}, {up_to}]"
                );
            }
        }
    }
}

#[test]
fn decodes_as_pillow() {
    let golden = golden("data_decode.safetensors");
    let folder = tempfile::tempdir().unwrap();
    let mut families: HashMap<&str, usize> = HashMap::new();
    for (key, expected) in golden.iter().filter(|(key, _)| key.ends_with(".rgb")) {
        let name = key.trim_end_matches(".rgb");
        // The ending is wrong on purpose for half of them: content decides.
        let path = folder.path().join(format!("{name}.jpg"));
        std::fs::write(&path, bytes(&golden[&format!("{name}.bytes")])).unwrap();
        let got = decode::rgb(&path, Orientation::AsStored).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(expected.size(), [i64::from(got.height()), i64::from(got.width()), 3], "{name}");
        let (mean, most) = differences(got.as_raw(), &bytes(expected));
        assert!(most == 0, "{name}: mean {mean}, most {most}");
        *families.entry(name.split('-').next().unwrap()).or_default() += 1;
    }
    let mut families: Vec<(&str, usize)> = families.into_iter().collect();
    families.sort_unstable();
    assert_eq!(
        families,
        [("bmp", 3), ("gif", 5), ("jpeg", 30), ("png", 10), ("pnm", 5), ("tiff", 7), ("webp", 4)]
    );
    let upright = decode::rgb(&folder.path().join("jpeg-exif.jpg"), Orientation::Upright).unwrap();
    let stored = decode::rgb(&folder.path().join("jpeg-exif.jpg"), Orientation::AsStored).unwrap();
    // Orientation 6: the first row stored is the right-hand column.
    assert_eq!(upright, image::imageops::rotate90(&stored));
}

/// What `decode::rgb` says of a file, or `None` where it reads it.
fn refusal(file: &[u8]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.jpg");
    std::fs::write(&path, file).unwrap();
    let error = decode::rgb(&path, Orientation::AsStored).err()?.to_string();
    assert!(error.contains("it.jpg: unreadable image: ") && !error.contains('\n'), "{error}");
    Some(error)
}

/// Places of a marker in a JPEG.
fn markers(file: &[u8], marker: u8) -> Vec<usize> {
    let pairs = file.windows(2).enumerate();
    pairs.filter(|(_, pair)| *pair == [0xff, marker]).map(|(at, _)| at).collect()
}

const RESTART: u8 = 0xd0;
const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
const START_OF_SCAN: u8 = 0xda;

#[test]
fn jpegs_cut_short_are_refused() {
    let golden = golden("data_decode.safetensors");
    for name in ["jpeg-rgb", "jpeg-progressive", "jpeg-exif", "jpeg-420-33x18", "jpeg-arithmetic"] {
        let whole = bytes(&golden[&format!("{name}.bytes")]);
        for end in [whole.len() - 2, whole.len() - 12, whole.len() * 9 / 10, 30, 2] {
            assert!(refusal(&whole[..end]).is_some(), "{name} {end}");
        }
        // An end marker that comes early: the rest would be grey. Of arithmetic coding nobody can
        // tell, since zeros follow its data by definition.
        if name != "jpeg-arithmetic" {
            let early = [&whole[..whole.len() - 12], &END_OF_IMAGE].concat();
            let error = refusal(&early).unwrap_or_else(|| panic!("{name}"));
            let said = ["a JPEG that ends early", "found marker 0xd9 instead of RST"];
            assert!(said.iter().any(|words| error.contains(words)), "{name}: {error}");
        }
    }
}

#[test]
fn a_jpeg_without_all_of_its_scans_is_refused() {
    let golden = golden("data_decode.safetensors");
    for name in ["jpeg-progressive", "jpeg-grey-progressive", "jpeg-440-17x31"] {
        let whole = bytes(&golden[&format!("{name}.bytes")]);
        let scans = markers(&whole, START_OF_SCAN);
        for scan in 1..scans.len() {
            // The tables before a scan belong to it, so that what is left is well-formed.
            let tables = markers(&whole[..scans[scan]], 0xc4);
            let end = tables.into_iter().rfind(|&at| at > scans[scan - 1]).unwrap_or(scans[scan]);
            let error = refusal(&[&whole[..end], &END_OF_IMAGE].concat()).unwrap_or_default();
            assert!(error.contains("without all of its scans"), "{name} {scan}: {error}");
        }
    }
}

#[test]
fn a_damaged_jpeg_is_refused_and_a_harmless_oddity_is_not() {
    let golden = golden("data_decode.safetensors");
    let file = |name: &str| bytes(&golden[&format!("{name}.bytes")]);
    let restarts = file("jpeg-420-33x18");
    let restart = markers(&restarts, RESTART)[0];
    let mut swapped = restarts.clone();
    swapped[restart + 1] = 0xd6;
    assert!(refusal(&swapped).is_some());
    let more = [&restarts[..restart], &[0x12; 40], &restarts[restart..]].concat();
    assert!(refusal(&more).unwrap().contains("extraneous bytes"));

    let whole = file("jpeg-rgb");
    let pixels = decode_bytes(&whole);
    let end = whole.len() - 2;
    let mut old = whole.clone();
    old[11] = 7; // Major version of JFIF.
    for (what, odd) in [
        ("bytes behind the end", [&whole[..], b"trailing"].concat()),
        ("two images", [&whole[..], &whole[..]].concat()),
        ("bytes before the end", [&whole[..end], &[0; 9], &END_OF_IMAGE].concat()),
        ("filling bytes", [&whole[..2], &[0xff; 3], &whole[2..]].concat()),
        ("an unknown version", old),
    ] {
        assert_eq!(decode_bytes(&odd), pixels, "{what}");
    }

    let frame = markers(&whole, 0xc0)[0];
    let mut twelve = whole.clone();
    twelve[frame + 4] = 12;
    assert!(refusal(&twelve).unwrap().contains("precision 12"));
    let mut lossless = whole;
    lossless[frame + 1] = 0xc3;
    assert!(refusal(&lossless).unwrap().contains("0xc3"));
}

fn decode_bytes(file: &[u8]) -> RgbImage {
    decode::rgb_of(file, "it".as_ref(), Orientation::AsStored).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn other_formats_cut_short_are_refused() {
    let golden = golden("data_decode.safetensors");
    for name in [
        "png-rgb",
        "bmp-rgb",
        "bmp-palette",
        "gif-palette",
        "gif-corner",
        "webp-lossy",
        "webp-lossless",
        "webp-alpha",
        "tiff-rgb",
        "tiff-lzw",
        "tiff-deflate",
        "tiff-fax",
        "pnm-grey",
        "pnm-rgb",
    ] {
        let whole = bytes(&golden[&format!("{name}.bytes")]);
        for end in [whole.len() - 6, whole.len() * 9 / 10, whole.len() / 2, 3, 0] {
            assert!(refusal(&whole[..end]).is_some(), "{name} {end} of {}", whole.len());
        }
    }
    let webp = bytes(&golden["webp-lossy.bytes"]);
    assert!(refusal(&webp[..webp.len() - 1]).unwrap().contains("a WebP that ends early"));
}

/// The fields of the first directory of a little-endian TIFF, and where they are.
fn set_tiff_tag(file: &mut [u8], tag: u16, value: u16) {
    let word = |at: usize| u16::from_le_bytes([file[at], file[at + 1]]);
    let directory = u32::from_le_bytes(*file[4..].first_chunk().unwrap()) as usize;
    let fields = (0..usize::from(word(directory))).map(|field| directory + 2 + 12 * field);
    let field = fields.into_iter().find(|&field| word(field) == tag).unwrap();
    file[field + 8..field + 10].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn a_tiff_that_would_come_out_otherwise_is_refused() {
    let golden = golden("data_decode.safetensors");
    let tiff = |name: &str, tag, value| {
        let mut file = bytes(&golden[&format!("{name}.bytes")]);
        set_tiff_tag(&mut file, tag, value);
        refusal(&file).unwrap_or_else(|| panic!("{name} {tag}"))
    };
    let error = tiff("tiff-lzw", 338, 1);
    assert!(error.contains("multiplied by alpha"), "{error}");
    let error = tiff("tiff-rgb", 259, 7);
    assert!(error.contains("JPEG within a TIFF"), "{error}");

    let floats = image::Rgb32FImage::from_pixel(2, 2, Rgb([0.5; 3]));
    let mut file = std::io::Cursor::new(Vec::new());
    image::DynamicImage::from(floats).write_to(&mut file, image::ImageFormat::Tiff).unwrap();
    let error = refusal(&file.into_inner()).unwrap();
    assert!(error.contains("floating-point"), "{error}");
}

#[test]
fn colour_operations_equal_pillows() {
    let golden = golden("data_colour.safetensors");
    let image = waves(40, 28);
    let mut dull = image.clone();
    dull.iter_mut().for_each(|value| *value = 40 + *value / 2);
    for (key, expected) in &golden {
        let (name, strength) = key.split_once('.').unwrap_or((key, "0"));
        let strength: f32 = strength.parse().unwrap();
        let (colour, input) = match name {
            "brightness" => (Colour::Brightness(strength), &image),
            "saturation" => (Colour::Saturation(strength), &image),
            "contrast" => (Colour::Contrast(strength), &image),
            "sharpness" => (Colour::Sharpness(strength), &image),
            "posterize" => (Colour::Posterize(strength as u8), &image),
            "solarize" => (Colour::Solarize(strength as u8), &image),
            "autocontrast" => (Colour::AutoContrast, &dull),
            "equalize" => (Colour::Equalize, &dull),
            _ => continue,
        };
        let (_, most) = differences(colour.apply(input.clone()).as_raw(), &bytes(expected));
        // Blending truncates: f32 may fall on the other side of a whole number.
        assert!(most <= 1, "{key}: {most}");
    }
}

#[test]
fn moves_equal_torchvisions() {
    let golden = golden("data_colour.safetensors");
    let image = waves(40, 28);
    for (name, affine) in [
        ("rotate", Affine::rotation(30.0)),
        ("rotate-back", Affine::rotation(-110.0)),
        ("translate-x", Affine::translation(7.0, 0.0)),
        ("translate-y", Affine::translation(0.0, -5.0)),
        ("shear-x", Affine::shear(0.3, 0.0)),
        ("shear-y", Affine::shear(0.0, -0.45)),
    ] {
        let got = affine.image(&image);
        let expected = bytes(&golden[name]);
        let wrong = got.as_raw().chunks(3).zip(expected.chunks(3)).filter(|(a, b)| a != b).count();
        // Pixel centres that fall on the border between two source pixels may go to either.
        assert!(wrong <= 40 * 28 / 100, "{name}: {wrong} of {} pixels differ", 40 * 28);
    }
}

#[test]
fn mat_files_of_scipy_are_read() {
    let golden = golden("data_mat.safetensors");
    for (name, file) in golden {
        let variables: HashMap<String, Value> =
            mat5::read(&bytes(&file)).unwrap().into_iter().collect();
        let texts = ["n1-a/n1_1.jpg", "n1-a/n1_2.jpg", "n2-bé/n2_1.jpg"]
            .map(|text| Value::Text(text.to_owned()));
        assert_eq!(variables["file_list"], Value::Cell(texts.to_vec()), "{name}");
        assert_eq!(variables["labels"], Value::Numbers(vec![1.0, 1.0, 2.0]), "{name}");
        assert_eq!(variables["doubles"], Value::Numbers(vec![0.5, 3.0, -2.0, 1e300]), "{name}");
        assert_eq!(variables["record"], Value::Other, "{name}");
        assert_eq!(variables["empty"], Value::Cell(Vec::new()), "{name}");
    }
}

#[test]
fn nearest_neighbour_takes_the_pixel_under_the_centre() {
    // 5 -> 2: centres 1.25 and 3.75; 2 -> 5: centres 0.2, 0.6, 1.0, 1.4, 1.8.
    let row = |values: &[u8]| GrayImage::from_raw(values.len() as u32, 1, values.to_vec()).unwrap();
    let resized = |values: &[u8], width: u32| {
        let mut plan = Plan::new(values.len() as u32, 1);
        plan.push(Step::Resize { width, height: 1 });
        plan.mask(&row(values)).into_raw()
    };
    assert_eq!(resized(&[0, 1, 2, 3, 4], 2), [1, 3]);
    assert_eq!(resized(&[0, 1], 5), [0, 0, 1, 1, 1]);
}
