//! `evaluate` from end to end: the same bytes after kills, and what it says of images, heatmaps and
//! settings that it cannot use.

use std::path::Path;
use std::process::Output;

use image::{GrayImage, Luma, RgbImage};
use tch::{Kind, Tensor};

use crate::workplace::{Workplace, assert_refused, assert_success, read, read_csv, stderr};

/// Everything that an evaluation of all suites writes.
const FILES: [&str; 5] =
    ["per_image.csv", "curve_sums.csv", "information.csv", "curves.csv", "summary.csv"];

pub(crate) fn evaluate<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "evaluate",
        "--checkpoint",
        "net.safetensors",
        "--output",
        output,
        "--batch-size",
        "4",
    ];
    if !more.contains(&"--data") {
        arguments.extend(["--data", "synthetic"]);
    }
    arguments.extend(more);
    arguments
}

/// The value of one metric in `summary.csv`, with the images that count and those that do not.
fn metric(folder: &Path, method: &str, name: &str) -> (Option<f64>, u64, u64) {
    let rows = read_csv(&folder.join("summary.csv"));
    let row = rows.iter().find(|row| row["method"] == method && row["metric"] == name);
    let row = row.unwrap_or_else(|| panic!("no {method} {name}"));
    (row["value"].parse().ok(), row["n"].parse().unwrap(), row["excluded"].parse().unwrap())
}

#[test]
fn all_suites_fill_their_files() {
    let place = Workplace::with_checkpoint();
    let methods = "saliency,s-ib-map,grad-cam";
    // At 32 px, the last stage has one cell.
    let options = ["--set", "faithfulness.step_px=64", "--set", "cam.layer=layer2"];
    let arguments = [&["--suite", "all", "--method", methods][..], &options].concat();
    let output = place.run(&evaluate("all", &arguments));
    assert_success(&output);
    let folder = place.path("all");
    assert_eq!(read_csv(&folder.join("per_image.csv")).len(), 20 * 3);
    assert_eq!(read_csv(&folder.join("information.csv")).len(), 5);
    // 1024 pixels in steps of 64, both ends, two paths.
    assert_eq!(read_csv(&folder.join("curves.csv")).len(), 3 * 2 * 17);
    for row in read_csv(&folder.join("summary.csv")) {
        let (method, name) = (&row["method"], &row["metric"]);
        let value: f64 = row["value"].parse().unwrap_or_else(|_| panic!("{method} {name}: empty"));
        let range = match name.as_str() {
            // Of the clean image's score, which a perturbed one may pass.
            name if name.ends_with("_share_pct") => 0.0..=1000.0,
            name if name.ends_with("_pct") => 0.0..=100.0,
            name if name.ends_with("_z") => -100.0..=100.0,
            _ => -1.0..=64.0,
        };
        assert!(range.contains(&value), "{method} {name}: {value}");
        let [n, excluded] = ["n", "excluded"].map(|column| row[column].parse::<u64>().unwrap());
        let all = if row["suite"] == "information" { 5 } else { 20 };
        assert_eq!(n + excluded, all, "{method} {name}");
        // GradCAM is zero everywhere for some.
        assert!(excluded == 0 || method == "grad-cam", "{method} {name}");
        let foreground: f64 = row["mean_foreground_frac"].parse().unwrap();
        assert!((0.02..0.6).contains(&foreground), "{foreground}");
    }
    // The S-IB map's own mask holds the top fifth; its cut is not at 0.5.
    let s_ib = read_csv(&folder.join("per_image.csv"));
    for row in s_ib.iter().filter(|row| row["method"] == "s-ib-map") {
        let count = |column: &str| row[column].parse::<f64>().unwrap();
        let positive = count("true_positive_px") + count("false_positive_px");
        assert!((0.1..0.3).contains(&(positive / 1024.0)), "{positive}");
    }
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("top1_pct") && text.contains("insertion_auc_pct"), "{text}");
}

/// Builds with debug assertions have failpoints.
#[test]
#[cfg(debug_assertions)]
fn killed_between_any_two_files_it_ends_with_the_same_bytes() {
    let place = Workplace::with_checkpoint();
    let arguments = |output| {
        let suites = "accuracy,localization,faithfulness,information";
        let step = "faithfulness.step_px=64";
        evaluate(output, &["--suite", suites, "--method", "saliency,s-ib-map", "--set", step])
    };
    assert_success(&place.run(&arguments("through")));
    // Five batches of three files: after the first, the second and the third of a batch, and on the way
    // through several.
    for (kill, whole) in [(1, 0), (2, 0), (3, 1), (5, 2), (4, 3), (5, 4)] {
        place.killed_at(&format!("rows:{kill}"), &arguments("killed"));
        assert!(!place.path("killed/summary.csv").exists());
        // What lies beyond the last batch that all files have is measured again.
        let batches = ["per_image.csv", "curve_sums.csv", "information.csv"].map(|file| {
            let rows = read_csv(&place.path("killed").join(file));
            let batches = rows.into_iter().map(|row| row["batch"].clone());
            batches.collect::<std::collections::BTreeSet<_>>().len()
        });
        assert_eq!(batches.into_iter().min(), Some(whole), "rows:{kill}");
    }
    let resumed = place.run(&arguments("killed"));
    assert_success(&resumed);
    assert!(stderr(&resumed).contains("going on after batch 4 of 5"), "{}", stderr(&resumed));
    for file in FILES {
        let (a, b) = (place.path("through").join(file), place.path("killed").join(file));
        assert!(read(&a) == read(&b), "{file}");
    }
}

#[test]
fn a_damaged_end_is_measured_again_and_a_finished_evaluation_is_not() {
    let place = Workplace::with_checkpoint();
    let arguments = evaluate("e", &["--suite", "localization", "--method", "saliency"]);
    let one_image = evaluate("e", &["--suite", "information", "--limit", "1"]);
    assert_refused(&place.run(&one_image), 2, "suite information: got batches of 1");
    assert_success(&place.run(&arguments));
    let (log, summary) = (place.path("e/per_image.csv"), place.path("e/summary.csv"));
    let whole = (read(&log), read(&summary));
    std::fs::write(&log, &whole.0[..whole.0.len() - 9]).unwrap();
    // What is not whole any more is not finished either.
    let output = place.run(&arguments);
    assert_success(&output);
    assert!(stderr(&output).contains("going on after batch 4 of 5"), "{}", stderr(&output));
    assert!((read(&log), read(&summary)) == whole);
    assert!(stderr(&place.run(&arguments)).contains("already complete"));
}

#[test]
fn going_on_with_another_setting_is_refused_with_its_name() {
    let place = Workplace::with_checkpoint();
    let run = |more: &[&str]| {
        let base = ["--suite", "localization", "--method", "saliency", "--limit", "4"];
        place.run(&evaluate("e", &[&base, more].concat()))
    };
    assert_success(&run(&[]));
    let before = read(&place.path("e/per_image.csv"));
    for (more, key) in [
        (&["--threshold", "mean"][..], "threshold: the evaluation was begun with fixed(0.5)"),
        (&["--seed", "3"], "seed: the evaluation was begun with 0, now it is 3"),
        (&["--set", "data.synthetic.test_rho=1.0"], "synthetic.test_rho: "),
    ] {
        let output = run(more);
        assert_refused(&output, 2, key);
        assert!(stderr(&output).contains("hint: "), "{}", stderr(&output));
    }
    assert_eq!(read(&place.path("e/per_image.csv")), before);
    std::fs::create_dir(place.path("other")).unwrap();
    std::fs::write(place.path("other/notes.txt"), "precious").unwrap();
    let arguments = evaluate("other", &["--suite", "accuracy"]);
    assert_refused(&place.run(&arguments), 1, "neither empty nor the folder of an evaluation");
}

/// Heatmaps of the synthetic test split as another tool would leave them: all the same ramp.
fn foreign_heatmaps(place: &Workplace, ids: &[String]) {
    let ramp = Tensor::arange(32 * 32, (Kind::Float, tch::Device::Cpu)).reshape([32, 32]);
    for id in ids {
        let path = place.path("theirs").join(format!("{id}.npy"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        ramp.write_npy(path).unwrap();
    }
}

#[test]
fn heatmaps_from_elsewhere_are_scored_and_bad_ones_named() {
    let place = Workplace::with_checkpoint();
    assert_success(&place.run(&evaluate("ids", &["--suite", "accuracy"])));
    let rows = read_csv(&place.path("ids/per_image.csv"));
    let ids: Vec<String> = rows.into_iter().map(|row| row["image"].clone()).collect();
    foreign_heatmaps(&place, &ids);

    let run = |output| {
        let more = ["--suite", "localization,faithfulness", "--heatmaps", "theirs"];
        place.run(&evaluate(output, &[&more[..], &["--set", "faithfulness.step_px=256"]].concat()))
    };
    assert_success(&run("good"));
    let (all, n, excluded) = metric(&place.path("good"), "theirs", "map_pct");
    assert_eq!((n, excluded), (20, 0));

    let nan = Tensor::zeros([32, 32], (Kind::Float, tch::Device::Cpu));
    let _ = nan.get(3).get(4).fill_(f64::NAN);
    nan.write_npy(place.path("theirs").join(format!("{}.npy", ids[7]))).unwrap();
    let output = run("nan");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("{}: theirs: ", ids[7])), "{}", stderr(&output));
    for name in ["map_pct", "insertion_auc_pct"] {
        let (value, n, excluded) = metric(&place.path("nan"), "theirs", name);
        assert_eq!((n, excluded), (19, 1), "{name}");
        assert!(value.is_some_and(f64::is_finite), "{name}");
    }
    assert_ne!(metric(&place.path("nan"), "theirs", "map_pct").0, all);

    nan.narrow(0, 0, 16).write_npy(place.path("theirs").join(format!("{}.npy", ids[7]))).unwrap();
    let output = run("size");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("[16, 32], expected [32, 32]"), "{}", stderr(&output));

    std::fs::remove_file(place.path("theirs").join(format!("{}.npy", ids[7]))).unwrap();
    let missing = format!("1 of 20 heatmaps are not there, the first is {}.npy", ids[7]);
    assert_refused(&run("missing"), 2, &missing);
    assert!(!place.path("missing").exists());
}

/// Two classes of the checkpoint with `per_class` images each, in the layout of `folder`.
fn image_folder(place: &Workplace, per_class: u32) {
    for class in ["striped-disc", "checked-square"] {
        let folder = place.path("images/test").join(class);
        std::fs::create_dir_all(&folder).unwrap();
        for i in 0..per_class {
            let image = RgbImage::from_fn(40, 36, |x, y| {
                image::Rgb([(x * 6) as u8, (y * 7) as u8, (i * 50) as u8])
            });
            image.save(folder.join(format!("{i}.png"))).unwrap();
        }
    }
}

fn folder_evaluation(place: &Workplace, output: &str, suites: &str) -> Output {
    let data = ["--data", "folder", "--root", "images"];
    let more = ["--suite", suites, "--method", "saliency"];
    place.run(&evaluate(output, &[data, more].concat()))
}

#[test]
fn what_the_first_batch_refuses_can_be_put_right() {
    let place = Workplace::with_checkpoint();
    let base = ["--suite", "localization", "--method", "grad-cam", "--limit", "4"];
    let with_layer = |layer: &str| {
        let set = format!("cam.layer={layer}");
        place.run(&evaluate("e", &[&base[..], &["--set", &set]].concat()))
    };
    assert_refused(&with_layer("layer9"), 2, "layer9");
    assert_success(&with_layer("layer3"));
    assert_refused(&with_layer("layer2"), 2, "method_options.cam.layer: ");
}

#[test]
fn going_on_with_other_images_is_refused() {
    let place = Workplace::with_checkpoint();
    image_folder(&place, 3);
    assert_success(&folder_evaluation(&place, "e", "accuracy"));
    let summary = read(&place.path("e/summary.csv"));
    let class = std::fs::read_dir(place.path("images/test")).unwrap().next().unwrap().unwrap();
    std::fs::copy(class.path().join("0.png"), class.path().join("9.png")).unwrap();
    let output = folder_evaluation(&place, "e", "accuracy");
    assert_refused(&output, 1, "the 7 images or their annotations are not the 6 that");
    assert_eq!(read(&place.path("e/summary.csv")), summary);
    std::fs::remove_file(class.path().join("9.png")).unwrap();
    assert_success(&folder_evaluation(&place, "e", "accuracy"));
}

#[test]
fn without_ground_truth_localization_is_refused_and_the_rest_measured() {
    let place = Workplace::with_checkpoint();
    image_folder(&place, 3);
    let refused = folder_evaluation(&place, "only", "localization");
    assert_refused(&refused, 1, "suite localization: folder has neither masks nor boxes");
    assert!(!place.path("only").exists());

    let output = folder_evaluation(&place, "both", "accuracy,localization");
    assert_eq!(output.status.code(), Some(1));
    let reason = "error: suite localization: folder has neither masks nor boxes; the others are";
    assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    assert_eq!(metric(&place.path("both"), "", "top1_pct").1, 6);
}

#[test]
fn empty_ground_truth_and_unreadable_images_are_counted_and_left_out() {
    let place = Workplace::with_checkpoint();
    image_folder(&place, 3);
    for class in ["striped-disc", "checked-square"] {
        let masks = place.path("images/masks/test").join(class);
        std::fs::create_dir_all(&masks).unwrap();
        for i in 0..3 {
            // One object lies in the margin that the crop cuts off.
            let in_margin = i == 0 && class == "striped-disc";
            let mask = GrayImage::from_fn(40, 36, |x, _| {
                let inside = if in_margin { x == 0 } else { (10..30).contains(&x) };
                Luma([u8::from(inside) * 255])
            });
            mask.save(masks.join(format!("{i}.png"))).unwrap();
        }
    }
    let output = folder_evaluation(&place, "masks", "localization");
    assert_success(&output);
    let row = |folder: &str| {
        let rows = read_csv(&place.path(folder).join("summary.csv"));
        let row = rows.into_iter().find(|row| row["metric"] == "map_pct").unwrap();
        (row["n"].clone(), row["excluded_for"].clone())
    };
    assert_eq!(row("masks"), ("5".to_owned(), "empty_ground_truth:1".to_owned()));

    std::fs::write(place.path("images/test/checked-square/1.png"), "not an image").unwrap();
    let output = folder_evaluation(&place, "unreadable", "localization");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("checked-square/1.png: "), "{}", stderr(&output));
    let (n, reasons) = row("unreadable");
    assert_eq!((n.as_str(), reasons.as_str()), ("4", "empty_ground_truth:1 unreadable_image:1"));
}

#[test]
fn a_split_without_any_object_is_an_error_of_the_suite() {
    for (suites, measured) in [("localization", 0), ("accuracy,localization", 3)] {
        let place = Workplace::with_checkpoint();
        image_folder(&place, 3);
        for class in ["striped-disc", "checked-square"] {
            let masks = place.path("images/masks/test").join(class);
            std::fs::create_dir_all(&masks).unwrap();
            for i in 0..3 {
                // Empty, or in the margin that the crop cuts off.
                let mask = GrayImage::from_fn(40, 36, |x, _| Luma([u8::from(i == 2 && x == 0)]));
                mask.save(masks.join(format!("{i}.png"))).unwrap();
            }
        }
        // Also of a folder that is complete.
        for _ in 0..2 {
            let output = folder_evaluation(&place, "e", suites);
            let reason = "suite localization: none of the 6 images of folder test has an object: ";
            assert_refused(&output, 1, reason);
            let rows = read_csv(&place.path("e/summary.csv"));
            assert_eq!(rows.len(), measured, "{suites}");
            assert!(rows.iter().all(|row| row["suite"] == "accuracy" && row["n"] == "6"));
            assert!(!String::from_utf8_lossy(&output.stdout).contains("mean_foreground_frac"));
        }
        // One object is enough; what is empty has no share in the mean.
        let mask = GrayImage::from_fn(40, 36, |_, _| Luma([255]));
        mask.save(place.path("images/masks/test/striped-disc/1.png")).unwrap();
        let output = folder_evaluation(&place, "one", suites);
        assert_success(&output);
        let (_, n, excluded) = metric(&place.path("one"), "saliency", "miou_pct");
        assert_eq!((n, excluded), (1, 5));
        let rows = read_csv(&place.path("one/summary.csv"));
        assert!(rows.iter().all(|row| row["mean_foreground_frac"] == "1.0"), "{rows:?}");
    }
}

#[test]
fn a_number_alone_is_a_threshold() {
    let place = Workplace::with_checkpoint();
    let run = |output, threshold| {
        let base = ["--suite", "localization", "--method", "saliency", "--limit", "4"];
        place.run(&evaluate(output, &[&base[..], &["--threshold", threshold]].concat()))
    };
    assert_success(&run("number", "0.3"));
    assert_success(&run("rule", "fixed(0.3)"));
    let files = ["number", "rule"].map(|folder| read(&place.path(folder).join("summary.csv")));
    assert!(files[0] == files[1]);
    assert!(String::from_utf8_lossy(&files[0]).contains("threshold=fixed(0.3)"));
    for bad in ["1", "1.0", "-0.2", "30%"] {
        let output = run("bad", bad);
        assert_eq!(output.status.code(), Some(2), "{bad}");
        assert!(stderr(&output).contains("a number 0 <= t < 1"), "{bad}: {}", stderr(&output));
    }
}

#[test]
fn heatmaps_of_any_type_and_order_are_read() {
    let place = Workplace::with_checkpoint();
    assert_success(&place.run(&evaluate("ids", &["--suite", "accuracy"])));
    let rows = read_csv(&place.path("ids/per_image.csv"));
    let ids: Vec<String> = rows.into_iter().map(|row| row["image"].clone()).collect();
    foreign_heatmaps(&place, &ids);
    let more = ["--suite", "localization", "--heatmaps", "theirs"];
    assert_success(&place.run(&evaluate("plain", &more)));
    // The same ramp as numpy.asfortranarray(..., dtype=">i2") writes it: columns first.
    let header = "{'descr': '>i2', 'fortran_order': True, 'shape': (32, 32), }";
    let header = format!("{header:<117}\n");
    let columns = (0..32u16).flat_map(|x| (0..32u16).flat_map(move |y| (32 * y + x).to_be_bytes()));
    let bytes: Vec<u8> =
        b"\x93NUMPY\x01\x00\x76\x00".iter().copied().chain(header.bytes()).chain(columns).collect();
    for id in &ids {
        std::fs::write(place.path("theirs").join(format!("{id}.npy")), &bytes).unwrap();
    }
    assert_success(&place.run(&evaluate("fortran", &more)));
    let files = ["plain", "fortran"].map(|folder| read(&place.path(folder).join("summary.csv")));
    assert!(files[0] == files[1]);

    let archive = place.path("theirs").join(format!("{}.npy", ids[3]));
    std::fs::write(archive, b"PK\x03\x04 as numpy.savez writes").unwrap();
    let output = place.run(&evaluate("archive", &more));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("an .npz archive or another zip"), "{}", stderr(&output));
}

#[test]
fn bad_input_is_refused_in_one_line_before_a_folder_is_made() {
    let place = Workplace::with_checkpoint();
    let refused: [(&[&str], i32, &str); 9] = [
        (&["--suite", "accuracies"], 2, "one of accuracy, localization, faithfulness"),
        (&["--suite", "all", "--method", "salience"], 2, "salience"),
        (&["--suite", "accuracy", "--data", "pets"], 2, "--root: not given"),
        (&["--suite", "accuracy", "--data", "pets", "--root", "none"], 1, "none: "),
        (&["--suite", "localization", "--pointing-tolerance-px", "-1"], 2, "--pointing-tolerance"),
        (&["--suite", "faithfulness", "--set", "faithfulness.step=3"], 2, "unknown field `step`"),
        (
            &["--suite", "faithfulness", "--set", "faithfulness.batch=0"],
            2,
            "faithfulness.batch: got 0",
        ),
        (&["--suite", "accuracy", "--set", "data.synthetic.rho=2"], 2, "data.synthetic.rho: got 2"),
        (&["--suite", "accuracy", "--device", "cuda:99"], 2, "device cuda:99 is not available"),
    ];
    for (more, code, expected) in refused {
        let output = place.run(&evaluate("e", more));
        assert!(stderr(&output).contains(expected), "{more:?}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(code), "{more:?}");
        assert!(!place.path("e").exists(), "{more:?}");
    }
}
