//! Networks whose posterior says nothing: saturated, or of one class.

use sib_core::checkpoint::{read_checkpoint, write_checkpoint};
use sib_models::{Arch, Model, ModelOptions};
use tch::Device;

use crate::workplace::{Workplace, assert_refused, assert_success, read_csv, stderr};

/// `net.safetensors` with its head's weights times `factor`, as `sure.safetensors`.
fn with_sure_network(factor: f64) -> Workplace {
    let place = Workplace::with_checkpoint();
    let (mut tensors, meta) = read_checkpoint(&place.path("net.safetensors")).unwrap();
    let weight = tensors.get_mut("fc.weight").unwrap();
    *weight = &*weight * factor;
    write_checkpoint(&place.path("sure.safetensors"), &tensors, &meta).unwrap();
    place
}

/// Two images of one class in the layout of `folder`, and an untrained network of `classes`.
fn with_few_classes(classes: &[&str]) -> Workplace {
    let place = Workplace::with_checkpoint();
    let (_, mut meta) = read_checkpoint(&place.path("net.safetensors")).unwrap();
    meta.classes = classes.iter().map(|&class| class.to_owned()).collect();
    let options = ModelOptions::default();
    let model = Model::new(Arch::ResNet18, classes.len() as i64, Device::Cpu, &options).unwrap();
    model.save(&place.path("few.safetensors"), &meta).unwrap();
    for (class, split) in classes.iter().flat_map(|class| ["train", "test"].map(|s| (class, s))) {
        let folder = place.path("images").join(split).join(class);
        std::fs::create_dir_all(&folder).unwrap();
        for i in 0..2u8 {
            let image = image::RgbImage::from_fn(40, 36, |x, y| {
                image::Rgb([(x * 6) as u8, (y * 7) as u8, 100 * i])
            });
            image.save(folder.join(format!("{i}.png"))).unwrap();
        }
    }
    place
}

fn evaluate(place: &Workplace, more: &[&str]) -> std::process::Output {
    let base = ["evaluate", "--batch-size", "4", "--set", "faithfulness.step_px=256"];
    place.run(&[&base[..], more].concat())
}

#[test]
fn a_saturated_posterior_gives_no_s_ib_map() {
    // 1e4 as of a diverged run; 300 leaves 1 - p of some images above 1e-30, of others below.
    for (factor, all) in [(1e4, true), (300.0, false)] {
        let place = with_sure_network(factor);
        let network = ["--checkpoint", "sure.safetensors"];
        let suites = ["--data", "synthetic", "--suite", "all", "--method", "s-ib-map,saliency"];
        let output = evaluate(&place, &[&network[..], &suites, &["--output", "e"]].concat());
        assert_success(&output);
        let rows = read_csv(&place.path("e/per_image.csv"));
        let mut undirected = 0;
        for row in rows.iter().filter(|row| row["method"] == "s-ib-map") {
            let reasons = ["localization", "faithfulness", "sanity"]
                .map(|suite| row[&format!("{suite}_excluded")].as_str());
            if reasons[0] == "no_direction" {
                undirected += 1;
                assert_eq!(reasons, ["no_direction"; 3]);
                for value in ["true_positive_px", "average_precision", "insertion_auc"] {
                    assert_eq!(row[value], "", "{value}");
                }
            } else {
                assert_eq!(reasons[..2], [""; 2]);
            }
        }
        assert!(if all { undirected == 20 } else { undirected < 20 }, "{factor}: {undirected}");
        for row in read_csv(&place.path("e/summary.csv")) {
            let [n, excluded] = ["n", "excluded"].map(|column| row[column].parse::<u64>().unwrap());
            match (row["suite"].as_str(), row["method"].as_str()) {
                ("localization" | "faithfulness", "s-ib-map") => {
                    assert_eq!((n, excluded), (20 - undirected, undirected), "{}", row["metric"]);
                }
                ("localization" | "faithfulness", _) => assert_eq!((n, excluded), (20, 0)),
                // All images of a batch are compared.
                ("information", _) if all => {
                    assert_eq!((n, row["excluded_for"].as_str()), (0, "no_direction:5"));
                }
                _ => {}
            }
            if n == 0 {
                assert_eq!(row["value"], "", "{}", row["metric"]);
            }
        }
    }
}

#[test]
fn explain_calls_a_map_without_direction_flat() {
    let place = with_sure_network(1e4);
    std::fs::create_dir(place.path("photos")).unwrap();
    for i in 0..2u8 {
        let image = image::RgbImage::from_fn(40, 36, |x, y| image::Rgb([x as u8, y as u8, 90 * i]));
        image.save(place.path("photos").join(format!("{i}.png"))).unwrap();
    }
    let method = ["--method", "s-ib-map,saliency", "--image", "photos", "--output", "maps"];
    let output =
        place.run(&[&["explain", "--checkpoint", "sure.safetensors"][..], &method].concat());
    assert_success(&output);
    let rows = read_csv(&place.path("maps/manifest.csv"));
    assert_eq!(rows.len(), 4);
    for row in rows {
        let is_flat = row["method"] == "s-ib-map";
        assert_eq!(row["flat"], is_flat.to_string(), "{row:?}");
    }
}

#[test]
fn one_logit_is_refused_with_what_to_do() {
    let place = with_few_classes(&["disc"]);
    let data = ["--checkpoint", "few.safetensors", "--data", "folder", "--root", "images"];
    let run = |more: &[&str]| evaluate(&place, &[&data[..], more].concat());
    for (suite, method, words) in [
        ("information", "saliency", "vjp.scalar = \"logits\""),
        ("faithfulness", "saliency", "the probability of one class is 1"),
        ("sanity", "s-ib-map", "vjp.scalar = \"logits\""),
        ("sanity", "score-cam", "score-cam.weights = \"softmax-logit\""),
    ] {
        let output = run(&["--suite", suite, "--method", method, "--output", "e"]);
        assert_refused(&output, 2, "classes: got 1, expected at least 2: ");
        assert!(stderr(&output).contains(words), "{suite}: {}", stderr(&output));
    }
    let logits = ["--set", "s-ib-map.vjp.scalar=logits"];
    assert_success(&run(&[&["--suite", "information", "--output", "i"][..], &logits].concat()));
    assert_success(&run(&["--suite", "accuracy", "--output", "a"]));

    let explain = |method: &str, output: &str| {
        let image = ["--image", "images/test/disc/0.png", "--output", output];
        let method = ["--checkpoint", "few.safetensors", "--method", method];
        place.run(&[&["explain"][..], &method, &image].concat())
    };
    assert_refused(&explain("s-ib-map", "m"), 2, "classes: got 1, expected at least 2: ");
    assert_success(&explain("saliency", "n"));

    let data = ["data.name=folder", "data.root=images", "train.batch_size=2", "train.epochs=1"];
    assert_refused(&place.train("run", &data), 2, "classes: got 1, expected at least 2: ");
}

#[test]
fn the_first_five_of_five_classes_are_no_measure() {
    for (classes, top5) in [(3, false), (5, false), (6, true)] {
        let names = ["a", "b", "c", "d", "e", "f"];
        let place = with_few_classes(&names[..classes]);
        let data = ["--checkpoint", "few.safetensors", "--data", "folder", "--root", "images"];
        let output =
            evaluate(&place, &[&data[..], &["--suite", "accuracy", "--output", "e"]].concat());
        assert_success(&output);
        let rows = read_csv(&place.path("e/summary.csv"));
        let has = |name: &str| rows.iter().any(|row| row["metric"] == name);
        assert_eq!((has("top1_pct"), has("top5_pct")), (true, top5), "{classes}");
    }
}
