//! `summary.csv` follows from the rows it stands for, whatever is excluded from them.

use std::collections::BTreeSet;
use std::path::Path;

use image::{GrayImage, Luma, RgbImage};
use sib_core::checkpoint::{read_checkpoint, write_checkpoint};
use tch::{Device, Kind, Tensor};

use crate::statistics::{Expected, Row, assert_close, expected_summary, mean, number, of_method};
use crate::workplace::{Workplace, assert_success, read_csv, stderr};

/// Checks every value of `summary.csv` against `per_image.csv` and `information.csv`; the reasons for
/// exclusions in it.
#[track_caller]
fn assert_follows_from_rows(folder: &Path) -> BTreeSet<String> {
    let description = std::fs::read_to_string(folder.join("evaluation.toml")).unwrap();
    let description: toml::Table = toml::from_str(&description).unwrap();
    let settings = &description["settings"];
    let names = |value: &toml::Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let folders = settings["heatmaps"].as_table().unwrap().keys().cloned();
    let methods: Vec<String> = names(&settings["methods"]).into_iter().chain(folders).collect();
    let classes = description["dataset"]["classes"].as_integer().unwrap() as usize;

    let per_image = read_csv(&folder.join("per_image.csv"));
    let information = folder.join("information.csv");
    let information = if information.exists() { read_csv(&information) } else { Vec::new() };
    let suites = names(&settings["suites"]);
    let expected = expected_summary(&per_image, &information, &suites, &methods, classes);
    let summary = read_csv(&folder.join("summary.csv"));
    let key = |suite: &str, method: &str, metric: &str| format!("{suite} {method} {metric}");
    let found: Vec<String> =
        summary.iter().map(|row| key(&row["suite"], &row["method"], &row["metric"])).collect();
    let wanted: Vec<String> = expected.iter().map(|e| key(e.suite, &e.method, &e.metric)).collect();
    assert_eq!(found, wanted);

    let fracs: Vec<f64> = of_method(&per_image, &methods[0])
        .into_iter()
        .filter_map(|row| number(row, "foreground_frac").filter(|frac| *frac > 0.0))
        .collect();
    for (row, expected) in summary.iter().zip(&expected) {
        assert_row(row, expected);
        assert_close(number(row, "mean_foreground_frac"), mean(&fracs), "mean_foreground_frac");
    }
    expected.into_iter().flat_map(|expected| expected.excluded.into_keys()).collect()
}

#[track_caller]
fn assert_row(row: &Row, expected: &Expected) {
    let what = format!("{} {} {}", expected.suite, expected.method, expected.metric);
    assert_close(number(row, "value"), expected.value, &what);
    assert_close(number(row, "standard_error"), expected.standard_error, &format!("{what}, error"));
    assert_eq!(row["n"], expected.n.to_string(), "{what}");
    assert_eq!(row["excluded"], expected.excluded.values().sum::<usize>().to_string(), "{what}");
    let reasons: Vec<String> =
        expected.excluded.iter().map(|(reason, n)| format!("{reason}:{n}")).collect();
    assert_eq!(row["excluded_for"], reasons.join(" "), "{what}");
}

fn evaluate(place: &Workplace, checkpoint: &str, more: &[&str]) -> std::process::Output {
    let base = ["evaluate", "--checkpoint", checkpoint, "--output", "e", "--batch-size", "4"];
    let step = ["--set", "faithfulness.step_px=256"];
    place.run(&[&base[..], &step, more].concat())
}

#[test]
fn of_built_in_images() {
    let place = Workplace::with_checkpoint();
    let methods = "saliency,s-ib-map,grad-cam";
    let data = ["--data", "synthetic", "--suite", "all", "--method", methods, "--limit", "18"];
    assert_success(&evaluate(&place, "net.safetensors", &data));
    let reasons = assert_follows_from_rows(&place.path("e"));
    // The last stage has one cell at 32 px, so that every GradCAM map is flat; the fifth batch has two
    // images.
    for reason in ["flat_heatmap", "smaller_batch"] {
        assert!(reasons.contains(reason), "{reason}: {reasons:?}");
    }
}

#[test]
fn where_r_vanishes_for_some_images() {
    let place = Workplace::with_checkpoint();
    let (mut tensors, meta) = read_checkpoint(&place.path("net.safetensors")).unwrap();
    let weight = tensors.get_mut("fc.weight").unwrap();
    *weight = &*weight * 1000.0;
    write_checkpoint(&place.path("sure.safetensors"), &tensors, &meta).unwrap();
    let data = ["--data", "synthetic", "--suite", "all", "--method", "s-ib-map,saliency"];
    assert_success(&evaluate(&place, "sure.safetensors", &data));
    let reasons = assert_follows_from_rows(&place.path("e"));
    assert!(reasons.contains("no_direction"), "{reasons:?}");
}

/// Seven images of each of two classes, with what can be wrong with an image, its mask or the heatmaps
/// in `theirs`.
fn with_faults() -> Workplace {
    let place = Workplace::with_checkpoint();
    let ramp = Tensor::arange(32 * 32, (Kind::Float, Device::Cpu)).reshape([32, 32]);
    for class in ["striped-disc", "checked-square"] {
        let folders =
            ["images/test", "images/masks/test", "theirs/test"].map(|f| place.path(f).join(class));
        folders.iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
        let [images, masks, heatmaps] = folders;
        for i in 0..7u8 {
            let image = RgbImage::from_fn(40, 36, |x, y| {
                image::Rgb([(x * 6) as u8, (y * 7) as u8, 30 * i])
            });
            image.save(images.join(format!("{i}.png"))).unwrap();
            let mask = GrayImage::from_fn(40, 36, |x, y| {
                Luma([u8::from((10..30).contains(&x) && y > u32::from(i)) * 255])
            });
            mask.save(masks.join(format!("{i}.png"))).unwrap();
            (&ramp * f64::from(i + 1)).write_npy(heatmaps.join(format!("{i}.npy"))).unwrap();
        }
    }
    let file = |path: &str| place.path(path);
    std::fs::write(file("images/test/striped-disc/0.png"), "not an image").unwrap();
    std::fs::remove_file(file("images/masks/test/striped-disc/1.png")).unwrap();
    let empty = GrayImage::new(40, 36);
    empty.save(file("images/masks/test/striped-disc/2.png")).unwrap();
    let write = |map: &Tensor, name: &str| {
        map.write_npy(file(&format!("theirs/test/checked-square/{name}.npy"))).unwrap();
    };
    let infinite = ramp.copy();
    let _ = infinite.get(3).get(4).fill_(f64::INFINITY);
    write(&infinite, "0");
    write(&ramp.ones_like(), "1");
    write(&(&ramp - 2000.0), "2");
    write(&ramp.narrow(0, 0, 16), "3");
    place
}

#[test]
fn of_images_masks_and_heatmaps_that_cannot_be_used() {
    let place = with_faults();
    let data = ["--data", "folder", "--root", "images", "--suite", "all"];
    let maps = ["--method", "saliency", "--heatmaps", "theirs"];
    let output = evaluate(&place, "net.safetensors", &[&data[..], &maps].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let reasons = assert_follows_from_rows(&place.path("e"));
    let all = [
        "empty_ground_truth",
        "flat_heatmap",
        "no_explainer",
        "no_ground_truth",
        "no_positive_pixel",
        "non_finite_heatmap",
        "smaller_batch",
        "unreadable_heatmap",
        "unreadable_image",
    ];
    assert_eq!(reasons, all.map(str::to_owned).into());
}
