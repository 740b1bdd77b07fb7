//! `evaluate` on a folder that it has finished: numbers stand for the files as they were measured, and
//! what could not be used is measured once it can be.

use std::fs;
use std::path::Path;
use std::process::Output;

use image::{GrayImage, Luma, RgbImage};
use tch::{Kind, Tensor};

use crate::workplace::{Workplace, assert_refused, assert_success, read, read_csv, stderr};

const CLASSES: [&str; 2] = ["striped-disc", "checked-square"];

/// Three images of each of two classes with their masks, and a heatmap of each from elsewhere.
fn workplace() -> Workplace {
    let place = Workplace::with_checkpoint();
    for (at, class) in CLASSES.into_iter().enumerate() {
        let folders =
            ["images/test", "images/masks/test", "theirs/test"].map(|f| place.path(f).join(class));
        folders.iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
        for i in 0..3u8 {
            let image = RgbImage::from_fn(40, 36, |x, y| {
                image::Rgb([(x * 6) as u8, (y * 7) as u8, 50 * i + 20 * at as u8])
            });
            image.save(folders[0].join(format!("{i}.png"))).unwrap();
            let mask =
                GrayImage::from_fn(40, 36, |x, _| Luma([u8::from((10..30).contains(&x)) * 255]));
            mask.save(folders[1].join(format!("{i}.png"))).unwrap();
            let path = folders[2].join(format!("{i}.npy"));
            ramp(f64::from(i)).write_npy(path).unwrap();
        }
    }
    place
}

/// A heatmap whose columns rise, and fall after `turn` of them.
fn ramp(turn: f64) -> Tensor {
    let columns = Tensor::arange(32, (Kind::Float, tch::Device::Cpu)) - 8.0 * turn;
    (columns.abs() * -1.0).expand([32, 32], false).contiguous()
}

fn evaluate(place: &Workplace, output: &str) -> Output {
    place.run(&[
        "evaluate",
        "--checkpoint",
        "net.safetensors",
        "--data",
        "folder",
        "--root",
        "images",
        "--suite",
        "accuracy,localization,faithfulness,information",
        "--method",
        "saliency",
        "--heatmaps",
        "theirs",
        "--set",
        "faithfulness.step_px=256",
        "--batch-size",
        "2",
        "--output",
        output,
    ])
}

const FILES: [&str; 5] =
    ["per_image.csv", "curve_sums.csv", "information.csv", "curves.csv", "summary.csv"];

#[track_caller]
fn assert_same(a: &Path, b: &Path) {
    for file in FILES {
        assert!(read(&a.join(file)) == read(&b.join(file)), "{file}");
    }
}

#[test]
fn a_file_that_changed_since_it_was_measured_is_named() {
    let place = workplace();
    assert_success(&evaluate(&place, "e"));
    let summary = read(&place.path("e/summary.csv"));
    assert!(stderr(&evaluate(&place, "e")).contains("already complete"));
    for (file, other, expected) in [
        (
            "theirs/test/striped-disc/1.npy",
            "theirs/test/striped-disc/2.npy",
            "the heatmap of theirs has changed",
        ),
        (
            "images/test/striped-disc/0.png",
            "images/test/checked-square/0.png",
            "the image or its mask",
        ),
        (
            "images/masks/test/striped-disc/2.png",
            "images/test/striped-disc/2.png",
            "or its mask has",
        ),
    ] {
        let before = read(&place.path(file));
        fs::copy(place.path(other), place.path(file)).unwrap();
        let output = evaluate(&place, "e");
        assert_refused(&output, 1, expected);
        assert!(stderr(&output).contains("hint: give another --output"), "{}", stderr(&output));
        let image = Path::new(file).file_stem().unwrap().to_string_lossy().into_owned();
        assert!(stderr(&output).contains(&format!("striped-disc/{image}.png: ")), "{file}");
        assert_eq!(read(&place.path("e/summary.csv")), summary, "{file}");
        // The same bytes again, whatever the time of the file.
        fs::write(place.path(file), before).unwrap();
        let output = evaluate(&place, "e");
        assert_success(&output);
        assert!(stderr(&output).contains("already complete"), "{}", stderr(&output));
    }
}

#[test]
fn heatmaps_that_moved_are_the_same_heatmaps() {
    let place = workplace();
    assert_success(&evaluate(&place, "e"));
    fs::rename(place.path("theirs"), place.path("aside")).unwrap();
    fs::create_dir(place.path("moved")).unwrap();
    fs::rename(place.path("aside"), place.path("moved/theirs")).unwrap();
    std::os::unix::fs::symlink("moved/theirs", place.path("theirs")).unwrap();
    let output = evaluate(&place, "e");
    assert_success(&output);
    assert!(stderr(&output).contains("already complete"), "{}", stderr(&output));
}

#[test]
fn what_could_not_be_used_is_measured_when_it_is_mended() {
    let place = workplace();
    assert_success(&evaluate(&place, "never-failed"));
    let (image, heatmap) = ("images/test/checked-square/1.png", "theirs/test/striped-disc/0.npy");
    let good = [image, heatmap].map(|file| read(&place.path(file)));

    fs::write(place.path(image), "not an image").unwrap();
    ramp(0.0).narrow(0, 0, 16).write_npy(place.path(heatmap)).unwrap();
    let output = evaluate(&place, "e");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("[16, 32], expected [32, 32]"), "{}", stderr(&output));
    assert!(stderr(&output).contains("checked-square/1.png"), "{}", stderr(&output));
    // As long as nothing is mended, nothing is measured and it stays a failure.
    let again = evaluate(&place, "e");
    assert_refused(&again, 1, "3 rows of images or heatmaps that cannot be used");
    assert!(stderr(&again).contains("already complete"), "{}", stderr(&again));

    // One after the other.
    fs::write(place.path(heatmap), &good[1]).unwrap();
    let half = evaluate(&place, "e");
    assert_refused(&half, 1, "2 rows of images or heatmaps that cannot be used");
    assert!(stderr(&half).contains("1 batches with what could not be used"), "{}", stderr(&half));
    fs::write(place.path(image), &good[0]).unwrap();
    assert_success(&evaluate(&place, "e"));
    assert_same(&place.path("never-failed"), &place.path("e"));
    assert!(stderr(&evaluate(&place, "e")).contains("already complete"));

    // A map with a value that is not finite, in an evaluation that was interrupted as well.
    let nan = ramp(1.0);
    let _ = nan.get(3).get(4).fill_(f64::NAN);
    nan.write_npy(place.path(heatmap)).unwrap();
    assert_eq!(evaluate(&place, "cut").status.code(), Some(1));
    let log = place.path("cut/per_image.csv");
    let whole = read(&log);
    fs::write(&log, &whole[..whole.len() - 5]).unwrap();
    fs::write(place.path(heatmap), &good[1]).unwrap();
    assert_success(&evaluate(&place, "cut"));
    assert_same(&place.path("never-failed"), &place.path("cut"));
}

#[test]
fn an_evaluation_of_an_earlier_version_goes_on() {
    let place = Workplace::with_checkpoint();
    let evaluate = |output: &str| {
        let suites = "localization,faithfulness";
        let step = "faithfulness.step_px=256";
        place.run(&[
            "evaluate",
            "--checkpoint",
            "net.safetensors",
            "--data",
            "synthetic",
            "--suite",
            suites,
            "--method",
            "saliency,grad-cam",
            "--batch-size",
            "8",
            "--set",
            step,
            "--output",
            output,
        ])
    };
    assert_success(&evaluate("now"));
    assert_success(&evaluate("then"));
    // As an earlier version left it: no digests, sums of plain squares, interrupted.
    let numbers = |text: &str| -> Vec<f64> {
        text.split_whitespace().map(|number| number.parse().unwrap()).collect()
    };
    rewrite(&place.path("then/per_image.csv"), |row| {
        row.truncate(row.len() - 2);
    });
    rewrite(&place.path("then/curve_sums.csv"), |row| {
        if row[5] == "deviations" {
            row[5] = "squares".to_owned();
            return;
        }
        let (n, sums): (f64, _) = (row[3].parse().unwrap(), numbers(&row[4]));
        let squares = numbers(&row[5]).into_iter().zip(sums).map(|(d, sum)| d + sum * sum / n);
        row[5] = squares.map(|square| square.to_string()).collect::<Vec<_>>().join(" ");
    });
    let log = place.path("then/curve_sums.csv");
    let whole = read(&log);
    fs::write(&log, &whole[..whole.len() - 3]).unwrap();
    let output = evaluate("then");
    assert_success(&output);
    assert!(stderr(&output).contains("going on after batch 2 of 3"), "{}", stderr(&output));
    assert_eq!(read(&place.path("now/per_image.csv")), read(&place.path("then/per_image.csv")));
    let [now, then] =
        ["now", "then"].map(|folder| read_csv(&place.path(folder).join("curves.csv")));
    assert_eq!(now.len(), then.len());
    for (a, b) in now.iter().zip(&then) {
        for column in ["mean", "standard_error"] {
            let [a, b]: [f64; 2] = [a, b].map(|row| row[column].parse().unwrap());
            assert!((a - b).abs() < 1e-9, "{column}: {a} {b}");
        }
    }
}

fn rewrite(path: &Path, change: impl Fn(&mut Vec<String>)) {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(path).unwrap();
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in reader.records() {
        let mut row: Vec<String> = row.unwrap().iter().map(str::to_owned).collect();
        change(&mut row);
        writer.write_record(&row).unwrap();
    }
    fs::write(path, writer.into_inner().unwrap()).unwrap();
}
