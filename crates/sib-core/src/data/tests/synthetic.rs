//! The built-in benchmark is what it says it is.

use std::sync::Arc;

use super::super::synthetic::{CLASSES, Scene};
use super::super::{DataOptions, Dataset, DatasetName, Split, SyntheticOptions, open};

fn split(split: Split, synthetic: SyntheticOptions) -> Dataset {
    let options = DataOptions { synthetic, ..Default::default() };
    open(DatasetName::Synthetic, ".".as_ref(), split, &options).unwrap()
}

/// Share of images whose background is that of their class.
fn agreement(dataset: &Dataset, options: &SyntheticOptions) -> f64 {
    let options = Arc::new(options.clone());
    let scene = |index| Scene::new(Arc::clone(&options), dataset.split, index);
    let agree = dataset
        .records
        .iter()
        .enumerate()
        .filter(|(i, record)| scene(*i).background() == record.label);
    agree.count() as f64 / dataset.records.len() as f64
}

#[test]
fn backgrounds_agree_with_the_class_as_often_as_asked() {
    let options = || SyntheticOptions {
        train_images: 2000,
        test_images: 2000,
        side_px: 16,
        ..Default::default()
    };
    // Four standard deviations of a share of 2000 draws are at most 0.045.
    let drawn = |of, options: SyntheticOptions| agreement(&split(of, options.clone()), &options);
    let train = drawn(Split::Train, SyntheticOptions { rho: 0.7, ..options() });
    assert!((train - 0.7).abs() < 0.045);
    let test = drawn(Split::Test, SyntheticOptions { rho: 0.7, ..options() });
    assert!((test - 0.1).abs() < 0.045);
    let always = drawn(Split::Test, SyntheticOptions { test_rho: 1.0, ..options() });
    assert_eq!(always, 1.0);
    let train = split(Split::Train, options());
    assert_eq!(train.class_counts(), [2000 / CLASSES; CLASSES]);
}

#[test]
fn images_follow_from_seed_split_and_index() {
    let options = SyntheticOptions::default;
    let image = |split_of, options, index: usize| {
        split(split_of, options).records[index].source.load().unwrap()
    };
    let reference = image(Split::Train, options(), 11);
    assert_eq!(reference.dimensions(), (options().side_px, options().side_px));
    assert_eq!(reference, image(Split::Train, options(), 11));
    assert_ne!(reference, image(Split::Train, options(), 21));
    assert_ne!(reference, image(Split::Test, options(), 11));
    let other = SyntheticOptions { seed: 1, ..options() };
    assert_ne!(reference, image(Split::Train, other, 11));
    // The number of images changes none of them.
    let more = SyntheticOptions { train_images: 9000, ..options() };
    assert_eq!(reference, image(Split::Train, more, 11));
}

#[test]
fn masks_are_exact() {
    // Without light and noise the background is known from the same scene seen with other
    // options: where two contrasts of the object change a pixel, the object covers it.
    let options =
        |object_contrast| SyntheticOptions { object_contrast, noise: 0.0, ..Default::default() };
    let a_options = options(0.1);
    let (a, b) = (split(Split::Train, a_options.clone()), split(Split::Train, options(1.0)));
    for index in 0..CLASSES {
        let (image_a, image_b) =
            (a.records[index].source.load().unwrap(), b.records[index].source.load().unwrap());
        let mask = a.records[index].mask.as_ref().unwrap().load(64, 64).unwrap();
        let mut foreground = 0;
        for (x, y, value) in mask.enumerate_pixels() {
            let differs = image_a.get_pixel(x, y) != image_b.get_pixel(x, y);
            let inside = value.0[0] > 0;
            foreground += usize::from(inside);
            // Pixels whose neighbours are all background are background.
            let deep_outside = !inside
                && (-2..=2).all(|dy: i64| {
                    (-2..=2).all(|dx: i64| {
                        mask.get_pixel_checked(
                            (i64::from(x) + dx).clamp(0, 63) as u32,
                            (i64::from(y) + dy).clamp(0, 63) as u32,
                        )
                        .is_none_or(|value| value.0[0] == 0)
                    })
                });
            assert!(!(deep_outside && differs), "class {index}: object outside its mask");
        }
        let changed_inside = mask
            .enumerate_pixels()
            .filter(|(x, y, value)| {
                value.0[0] > 0 && image_a.get_pixel(*x, *y) != image_b.get_pixel(*x, *y)
            })
            .count();
        assert!(foreground > 100, "class {index}: {foreground} pixels");
        // Where the two colours happen to mix to their mean, contrast changes nothing.
        assert!(
            changed_inside * 10 > foreground * 8,
            "class {index}: {changed_inside} of {foreground}"
        );
        let bbox = a.records[index].boxes[0];
        // No shape reaches further from its centre than 1.1 radii.
        let most = 1.1 * 64.0 * a_options.object_frac[1] + 1.0;
        assert!(bbox.x1 - bbox.x0 <= most && bbox.y1 - bbox.y0 <= most, "class {index}: {bbox:?}");
        let mut inside_box = vec![false; 64 * 64];
        bbox.fill(&mut inside_box, 64);
        assert!(mask.iter().zip(inside_box).all(|(&value, inside)| value == 0 || inside));
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    for (key, options) in [
        ("side_px", SyntheticOptions { side_px: 8, ..Default::default() }),
        ("train_images", SyntheticOptions { train_images: 3, ..Default::default() }),
        ("test_rho", SyntheticOptions { test_rho: 1.5, ..Default::default() }),
        ("rho", SyntheticOptions { rho: f64::NAN, ..Default::default() }),
        ("object_frac", SyntheticOptions { object_frac: [0.6, 0.4], ..Default::default() }),
        ("noise", SyntheticOptions { noise: -0.1, ..Default::default() }),
    ] {
        let options = DataOptions { synthetic: options, ..Default::default() };
        let error = open(DatasetName::Synthetic, ".".as_ref(), Split::Train, &options)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&format!("synthetic.{key}:")), "{error}");
    }
}
