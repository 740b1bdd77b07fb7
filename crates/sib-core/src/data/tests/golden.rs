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
            let (mean, most) = differences(got.as_raw(), &bytes(expected));
            // Fixed-point coefficients of fewer bits than Pillow's: a value close to a half may be
            // rounded the other way, which is one level at fewer than one value in a hundred.
            assert!(mean <= 0.01 && most <= 1, "{width}x{height} {what}: {mean} {most}");
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
    for (key, expected) in golden.iter().filter(|(key, _)| key.ends_with(".rgb")) {
        let name = key.trim_end_matches(".rgb");
        // The ending is wrong on purpose for half of them: content decides.
        let path = folder.path().join(format!("{name}.jpg"));
        std::fs::write(&path, bytes(&golden[&format!("{name}.bytes")])).unwrap();
        let got = decode::rgb(&path, Orientation::AsStored).unwrap();
        assert_eq!(expected.size(), [i64::from(got.height()), i64::from(got.width()), 3], "{name}");
        let (mean, most) = differences(got.as_raw(), &bytes(expected));
        // JPEG decoders differ in the rounding of the inverse cosine transform and of the colour
        // conversion, and in how they interpolate subsampled colours; PNG is exact. (Pillow's
        // 16-bit to 8-bit is ours by construction of the file.)
        let (mean_bound, most_bound) = match name {
            "jpeg-420" => (1.0, 12),
            _ if name.starts_with("jpeg") => (0.5, 3),
            _ => (0.0, 0),
        };
        assert!(mean <= mean_bound && most <= most_bound, "{name}: mean {mean}, most {most}");
    }
    let upright = decode::rgb(&folder.path().join("jpeg-exif.jpg"), Orientation::Upright).unwrap();
    let stored = decode::rgb(&folder.path().join("jpeg-exif.jpg"), Orientation::AsStored).unwrap();
    // Orientation 6: the first row stored is the right-hand column.
    assert_eq!(upright, image::imageops::rotate90(&stored));
}

/// Pillow refuses each of these as well.
#[test]
fn jpegs_cut_short_are_refused() {
    let golden = golden("data_decode.safetensors");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.jpg");
    for name in ["jpeg-rgb", "jpeg-progressive", "jpeg-exif"] {
        let whole = bytes(&golden[&format!("{name}.bytes")]);
        for end in [whole.len() - 2, whole.len() * 2 / 3, 30, 2] {
            std::fs::write(&path, &whole[..end]).unwrap();
            let error = decode::rgb(&path, Orientation::AsStored).unwrap_err().to_string();
            assert!(error.contains("cut.jpg: unreadable image"), "{name} {end}: {error}");
        }
        // Bytes after the end are no harm.
        std::fs::write(&path, [&whole[..], b"trailing"].concat()).unwrap();
        assert!(decode::rgb(&path, Orientation::AsStored).is_ok());
    }
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
