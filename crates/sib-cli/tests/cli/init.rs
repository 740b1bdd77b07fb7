//! `init` and training without a file: from a folder of images to a run.

use std::fs;

use sib_core::testing::formula_tensor;
use tch::Kind;

use crate::workplace::{
    Workplace, assert_refused, assert_success, read, read_csv, stderr, train_arguments,
};

/// Twelve images of each of two classes, 40 px wide, with masks where asked for.
fn photographs(place: &Workplace, with_masks: bool) {
    for class in ["cat", "dog"] {
        let folders = [place.path("photos").join(class), place.path("photos/masks").join(class)];
        folders.iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
        for number in 0..12 {
            let pixels = formula_tensor(&format!("{class}{number}"), &[3, 48, 40]);
            let pixels = (pixels * 100.0 + 128.0).clamp(0.0, 255.0).to_kind(Kind::Uint8);
            let file = |folder: usize| folders[folder].join(format!("{number}.png"));
            tch::vision::image::save(&pixels, file(0)).unwrap();
            if with_masks {
                let mask = pixels.narrow(0, 0, 1).gt(99).to_kind(Kind::Uint8) * 255;
                tch::vision::image::save(&mask, file(1)).unwrap();
            }
        }
    }
}

#[test]
fn a_folder_of_classes_becomes_a_run() {
    let place = Workplace::new();
    photographs(&place, false);
    let output = place.run(&["init", "--data", "photos", "--output", "out/mine.toml"]);
    assert_success(&output);
    let said = stderr(&output);
    for part in [
        "2 classes, images: 18 train, 4 test, 2 val; short side 40 px",
        "no splits there, so some were drawn",
        "hint: sib-cli train --config out/mine.toml --output runs/mine/baseline",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let rows = read_csv(&place.path("photos/splits.csv"));
    assert_eq!(rows.len(), 24);
    let written = |name: &str| String::from_utf8(read(&place.path(name))).unwrap();
    let plain = written("out/mine.toml");
    assert!(plain.contains("crop_px = 32") && plain.contains("batch_size = 8"), "{plain}");
    assert!(!plain.contains("localization"), "{plain}");

    // Both are configurations; the splits are what training sees.
    for config in ["mine", "mine-sib"] {
        let (file, run) = (format!("out/{config}.toml"), format!("runs/{config}"));
        let one = ["--set", "train.epochs=1", "--set", "train.log_every_steps=1"];
        let output =
            place.run(&[&["train", "--config", &file, "--output", &run][..], &one].concat());
        assert_success(&output);
        assert!(stderr(&output).contains("best.safetensors is chosen on the validation split"));
        let steps = read_csv(&place.path(&run).join("metrics.csv"));
        assert!(steps.iter().any(|row| row["split"] == "train" && row["step"] == "2"));
    }
    let evaluated = place.run(&[
        "evaluate",
        "--checkpoint",
        "runs/mine-sib",
        "--data",
        "folder",
        "--root",
        "photos",
        "--suite",
        "accuracy",
        "--output",
        "evaluation",
    ]);
    assert_success(&evaluated);
    let classes = read_csv(&place.path("evaluation/classes.csv"));
    assert_eq!(classes.iter().map(|row| row["images"].as_str()).collect::<Vec<_>>(), ["2", "2"]);
    let confusion = read_csv(&place.path("evaluation/confusion.csv"));
    let counted = confusion.iter().flat_map(|row| [&row["cat"], &row["dog"]]);
    assert_eq!(counted.map(|cell| cell.parse::<u32>().unwrap()).sum::<u32>(), 4);

    // Nothing is replaced unasked, and splits never.
    let again = ["init", "--data", "photos", "--output", "out/mine.toml", "--seed", "7"];
    assert_refused(&place.run(&again), 2, "out/mine.toml: is there already");
    assert_success(&place.run(&[&again[..], &["--overwrite"]].concat()));
    assert_eq!(read_csv(&place.path("photos/splits.csv")), rows);
}

#[test]
fn annotations_are_found() {
    let place = Workplace::new();
    photographs(&place, true);
    let output = place.run(&["init", "--data", "photos", "--val", "0"]);
    assert_success(&output);
    assert!(stderr(&output).contains("20 train, 4 test, with masks;"), "{}", stderr(&output));
    let written = |name: &str| String::from_utf8(read(&place.path(name))).unwrap();
    assert!(written("photos.toml").contains("accuracy,faithfulness,localization"));
    assert!(written("photos-sib.toml").contains("# source = \"annotation\""));

    // Maps are scored on the test images, S-IB is told of the training images.
    for row in read_csv(&place.path("photos/splits.csv")) {
        if row["split"] == "train" {
            fs::remove_file(place.path("photos/masks").join(&row["image"])).unwrap();
        }
    }
    assert_success(&place.run(&["init", "--data", "photos", "--overwrite"]));
    assert!(written("photos.toml").contains("accuracy,faithfulness,localization"));
    assert!(!written("photos-sib.toml").contains("annotation"));
}

#[test]
fn what_is_no_folder_of_images_is_refused() {
    let place = Workplace::new();
    assert_refused(&place.run(&["init", "--data", "nowhere"]), 2, "--data: nowhere is no folder");
    fs::create_dir_all(place.path("empty/cat")).unwrap();
    assert_refused(&place.run(&["init", "--data", "empty"]), 1, "expected <class>/*");
    photographs(&place, false);
    let shares = ["init", "--data", "photos", "--test", "0.9", "--val", "0.2"];
    assert_refused(&place.run(&shares), 2, "--test: got 0.9, expected a share below 1");
    assert!(!place.path("photos/splits.csv").exists() && !place.path("photos.toml").exists());
    // Of a dataset that came with splits nothing is drawn.
    fs::create_dir_all(place.path("half/train/cat")).unwrap();
    fs::copy(place.path("photos/cat/0.png"), place.path("half/train/cat/0.png")).unwrap();
    assert_refused(&place.run(&["init", "--data", "half"]), 1, "test missing");
    fs::rename(place.path("half/train"), place.path("half/val")).unwrap();
    assert_refused(&place.run(&["init", "--data", "half"]), 1, "train missing");
    assert!(!place.path("half/splits.csv").exists());
}

#[test]
fn training_needs_no_file() {
    let place = Workplace::new();
    let small = ["data.preprocessing.resize_px=32", "data.preprocessing.crop_px=32"];
    let few = ["data.limit_train=16", "data.limit_test=8", "train.epochs=1", "train.batch_size=8"];
    let set: Vec<&str> = small.iter().chain(&few).flat_map(|it| ["--set", it]).collect();
    let train = ["train", "--data", "synthetic", "--arch", "resnet18", "--sib"];
    assert_success(&place.run(&[&train[..], &set].concat()));
    let config = read(&place.path("runs/synthetic-resnet18-sib/config.toml"));
    let config = String::from_utf8(config).unwrap();
    assert!(config.contains("[sib]") && config.contains("crop_px = 32"), "{config}");

    assert_refused(&place.run(&["train", "--data", "pets"]), 2, "data.root: not set");
    assert_refused(&place.run(&["train"]), 2, "--config");
    let both = ["train", "--resume", "runs/synthetic-resnet18-sib", "--arch", "resnet18"];
    assert_refused(&place.run(&both), 2, "cannot be used with");
    let over = ["train", "--config", "tiny.toml", "--weights", "nowhere.pth", "--output", "run"];
    assert_refused(&place.run(&over), 1, "nowhere.pth");
}

#[test]
fn a_dry_run_says_what_a_run_takes_and_leaves_nothing() {
    let place = Workplace::new();
    let output = place
        .run(&[&train_arguments("run", &["train.freeze=backbone"])[..], &["--dry-run"]].concat());
    assert_success(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "# resnet18: 11.18 million parameters, 0.01 of them trained\n",
        "# images: 40 train, 20 test; 10 classes\n",
        "# updates: 15, 5 an epoch\n",
        "# here: about 1 minute",
        "\n[sib]\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!place.path("run").exists());
    // It is a configuration.
    fs::write(place.path("resolved.toml"), &text).unwrap();
    let again = place.run(&["train", "--config", "resolved.toml", "--set", "train.epochs=1"]);
    assert_success(&again);
    let missing = ["train", "--config", "tiny.toml", "--weights", "gone.pth", "--dry-run"];
    assert_refused(&place.run(&missing), 1, "gone.pth");
}

#[test]
fn who_wants_quiet_hears_of_errors_alone() {
    let place = Workplace::new();
    photographs(&place, false);
    let output = place.run(&["init", "--data", "photos", "-q"]);
    assert_success(&output);
    assert_eq!(stderr(&output), "");
    assert_refused(&place.run(&["-q", "init", "--data", "nowhere"]), 2, "nowhere is no folder");
}
