//! `explain` and `predict` from end to end: what they write, and what they say of bad input.

use std::collections::BTreeMap;
use std::path::Path;

use image::RgbImage;
use sib_models::Model;
use tch::{Device, Kind, Tensor};

use crate::workplace::{Workplace, assert_refused, assert_success, read, read_csv, stderr};

/// Three images, one of them with an uneven size, in `photos`.
fn photos(place: &Workplace) {
    std::fs::create_dir(place.path("photos")).unwrap();
    for (name, width, height) in [("a.png", 48, 40), ("b.jpg", 97, 61), ("c.png", 32, 64)] {
        let image = RgbImage::from_fn(width, height, |x, y| {
            let inside = (10..25).contains(&x) && (10..25).contains(&y);
            image::Rgb(if inside { [220, 40, 40] } else { [(3 * x) as u8, (4 * y) as u8, 90] })
        });
        image.save(place.path("photos").join(name)).unwrap();
    }
}

fn explain<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments =
        vec!["explain", "--checkpoint", "net.safetensors", "--image", "photos", "--output", output];
    arguments.extend(more);
    arguments
}

/// What `explanation.toml` in the folder says.
fn description(folder: &Path) -> toml::Table {
    toml::from_str(&std::fs::read_to_string(folder.join("explanation.toml")).unwrap()).unwrap()
}

#[test]
fn all_methods_write_maps_overlays_sheets_and_a_manifest() {
    let place = Workplace::with_checkpoint();
    photos(&place);
    assert_success(&place.run(&explain("maps", &["--method", "all"])));
    let folder = place.path("maps");
    let manifest = read_csv(&folder.join("manifest.csv"));
    assert_eq!(manifest.len(), 3 * 7);
    for row in &manifest {
        let stem = std::path::Path::new(&row["image"]).file_stem().unwrap().to_str().unwrap();
        let file = |ending: &str| folder.join(format!("{stem}.{}.{ending}", row["method"]));
        let map = Tensor::read_npy(file("npy")).unwrap();
        assert_eq!((map.size(), map.kind()), (vec![32, 32], Kind::Float));
        let range = (map.min().double_value(&[]), map.max().double_value(&[]));
        assert!(range.0.is_finite() && range.0 <= range.1, "{range:?}");
        let noted = |column: &str| row[column].parse::<f64>().unwrap();
        assert!((noted("min") - range.0).abs() <= 1e-6 * range.1.abs(), "{row:?}");
        assert!((0.0..=1.0).contains(&noted("probability")));
        let is_complete = row["method"] == "integrated-gradients";
        assert_eq!(row["completeness_error"].parse::<f32>().is_ok(), is_complete, "{row:?}");
        // Overlays have the size of the original.
        let original = image::image_dimensions(place.path(&row["image"])).unwrap();
        assert_eq!(image::image_dimensions(file("png")).unwrap(), original);
    }
    assert!(folder.join("sheet-01.png").is_file());
    // The same maps when asked for one by one.
    assert_success(&place.run(&explain("one", &["--method", "grad-cam", "--batch-size", "1"])));
    for stem in ["a", "b", "c"] {
        let map = |folder: &str| {
            Tensor::read_npy(place.path(folder).join(format!("{stem}.grad-cam.npy"))).unwrap()
        };
        let (all, one) = (map("maps"), map("one"));
        let largest = all.abs().max().double_value(&[]);
        let difference = (all - one).abs().max().double_value(&[]);
        assert!(difference <= 1e-5 * largest, "{stem}: {difference} of {largest}");
    }
}

#[test]
fn a_comparison_has_rows_before_and_after_and_their_difference() {
    let place = Workplace::with_checkpoint();
    photos(&place);
    let baseline = ["train.epochs=1", "train.seed=5"];
    assert_success(&place.train("baseline", &baseline));
    let compare = ["--compare", "baseline/checkpoints/last.safetensors", "--method", "saliency"];
    assert_success(&place.run(&explain("both", &compare)));
    for suffix in ["npy", "png", "baseline.npy", "baseline.png", "difference.png"] {
        assert!(place.path("both").join(format!("b.saliency.{suffix}")).is_file(), "{suffix}");
    }
    let manifest = read_csv(&place.path("both/manifest.csv"));
    let count = |which: &str| manifest.iter().filter(|row| row["checkpoint"] == which).count();
    assert_eq!((count("checkpoint"), count("baseline")), (3, 3));
    // Both are asked about the same class.
    let target = |which: &str| -> Vec<&String> {
        let rows = manifest.iter().filter(|row| row["checkpoint"] == which);
        rows.map(|row| &row["target_index"]).collect()
    };
    assert_eq!(target("checkpoint"), target("baseline"));
    // What figures and reports read.
    let of = description(&place.path("both"));
    assert_eq!(of["methods"], toml::Value::from(vec!["saliency"]));
    assert_eq!(of["network"]["arch"].as_str(), Some("resnet18"));
    assert_eq!(of["baseline"]["train_seed"].as_integer(), Some(5));
    assert_eq!(of["preprocessing"]["resize_px"].as_integer(), Some(32));
    let images = of["images"].as_array().unwrap();
    assert_eq!((images.len(), images[1]["stem"].as_str()), (3, Some("b")));
}

#[test]
fn a_flat_map_is_reported_and_drawn() {
    let place = Workplace::with_checkpoint();
    photos(&place);
    let path = place.path("net.safetensors");
    let (model, meta) = Model::from_checkpoint(&path, Device::Cpu).unwrap();
    let weights: BTreeMap<String, Tensor> = model.state_dict();
    let _ = tch::no_grad(|| weights["fc.weight"].shallow_clone().zero_());
    model.save(&path, &meta).unwrap();
    let output = place.run(&explain("flat", &["--method", "saliency,grad-cam"]));
    assert_success(&output);
    assert!(stderr(&output).contains("the saliency map is flat"), "{}", stderr(&output));
    for row in read_csv(&place.path("flat/manifest.csv")) {
        assert_eq!((row["flat"].as_str(), row["min"].as_str()), ("true", row["max"].as_str()));
    }
    assert!(place.path("flat/a.saliency.png").is_file());
}

#[test]
fn an_image_that_is_none_is_skipped_and_counted() {
    let place = Workplace::with_checkpoint();
    photos(&place);
    std::fs::write(place.path("photos/bad.jpg"), "not an image").unwrap();
    let output = place.run(&explain("maps", &["--method", "saliency"]));
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("photos/bad.jpg") && text.contains("1 of 4 images"), "{text}");
    assert_eq!(read_csv(&place.path("maps/manifest.csv")).len(), 3);
    assert_eq!(description(&place.path("maps"))["images"].as_array().unwrap().len(), 3);

    let arguments =
        ["predict", "--checkpoint", "net.safetensors", "--image", "photos", "--top", "2"];
    let output = place.run(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let csv = String::from_utf8(output.stdout).unwrap();
    assert_eq!(csv.lines().count(), 1 + 3 * 2, "{csv}");
    assert!(csv.starts_with("image,rank,class_index,class_name,logit,probability\n"));
}

#[test]
fn bad_input_is_refused_in_one_line_before_the_first_forward() {
    let place = Workplace::with_checkpoint();
    photos(&place);
    std::fs::write(place.path("file"), "").unwrap();
    let refused: [(&[&str], i32, &str); 8] = [
        (&["--method", "salincy"], 2, "saliency"),
        (
            &["--target", "10"],
            2,
            "--target: got 10, expected predicted, a class name or a class index from 0 to 9",
        ),
        (&["--target", "cat"], 2, "--target: got cat"),
        (&["--set", "score-cam.weight=probability"], 2, "score-cam.weight"),
        (&["--set", "integrated-gradients.steps=0"], 2, "integrated-gradients.steps"),
        (&["--alpha", "1.5"], 2, "alpha"),
        (&["--compare", "none.safetensors"], 1, "none.safetensors: "),
        (&["--image", "nowhere.png"], 1, "nowhere.png: cannot read"),
    ];
    for (more, code, expected) in refused {
        assert_refused(&place.run(&explain("maps", more)), code, expected);
        assert!(!place.path("maps/manifest.csv").exists(), "{more:?}");
    }
    assert_refused(&place.run(&explain("file/maps", &[])), 1, "file/maps: cannot create");
}

#[test]
fn a_file_without_metadata_is_refused_with_how_to_import_it() {
    let place = Workplace::with_checkpoint();
    photos(&place);
    let net = place.path("net.safetensors");
    let tensors = Tensor::read_safetensors(&net).unwrap();
    std::fs::remove_file(&net).unwrap();
    let named: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
    Tensor::write_safetensors(&named, &net).unwrap();
    let output = place.run(&explain("maps", &[]));
    assert_refused(&output, 1, "not a checkpoint");
    assert!(stderr(&output).contains("hint: ") && stderr(&output).contains("sib-cli import"));

    let import =
        ["import", "net.safetensors", "--arch", "resnet18", "--output", "again.safetensors"];
    assert_success(&place.run(&import));
    assert!(read(&place.path("again.safetensors")).len() > 40_000_000);
}

#[test]
fn a_class_is_named_or_numbered_and_a_run_stands_for_its_best_checkpoint() {
    let place = Workplace::with_checkpoint();
    photos(&place);
    std::fs::create_dir_all(place.path("run/checkpoints")).unwrap();
    let best = place.path("run/checkpoints/best.safetensors");
    std::fs::copy(place.path("net.safetensors"), &best).unwrap();
    let classes = sib_core::checkpoint::read_meta(&best).unwrap().classes;
    let of_run = |output: &str, target: &str| {
        place.run(&[
            "explain",
            "--checkpoint",
            "run",
            "--image",
            "photos",
            "--method",
            "saliency",
            "--output",
            output,
            "--target",
            target,
        ])
    };
    for (target, index) in [(classes[3].as_str(), "3"), ("4", "4")] {
        let folder = format!("maps-{index}");
        let output = of_run(&folder, target);
        assert_success(&output);
        assert!(stderr(&output).contains("run: a run, taking "), "{}", stderr(&output));
        let rows = read_csv(&place.path(&folder).join("manifest.csv"));
        assert!(rows.iter().all(|row| row["target_index"] == index), "{target}");
    }
    let misspelt = format!("{}x", classes[3]);
    let output = of_run("maps", &misspelt);
    assert_refused(&output, 2, &format!("--target: got {misspelt}"));
    assert!(stderr(&output).contains(&format!("did you mean {}?", classes[3])));
    std::fs::remove_file(best).unwrap();
    assert_refused(&of_run("maps", "0"), 1, "run: a folder, expected a checkpoint");
}

#[test]
fn what_a_folder_holds_is_replaced_whole_or_not_at_all() {
    let place = Workplace::with_checkpoint();
    photos(&place);
    assert_success(&place.run(&explain("maps", &[])));
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(place.path("maps")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let before = names().len();
    assert_refused(&place.run(&explain("maps", &[])), 1, "maps: holds an explanation already");
    assert_eq!(names().len(), before);
    std::fs::write(place.path("maps/notes.txt"), "precious").unwrap();
    let one = ["--overwrite", "--method", "grad-cam", "--sheet-images", "0"];
    assert_success(&place.run(&explain("maps", &one)));
    let mut left = names();
    left.retain(|name| !name.contains(".grad-cam."));
    left.sort();
    assert_eq!(left, [".lock", "explanation.toml", "manifest.csv", "notes.txt"]);

    std::fs::create_dir(place.path("thesis")).unwrap();
    std::fs::write(place.path("thesis/draft.tex"), "precious").unwrap();
    for more in [&[][..], &["--overwrite"]] {
        assert_refused(&place.run(&explain("thesis", more)), 1, "thesis: neither empty nor");
    }
}
