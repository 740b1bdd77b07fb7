//! Files of strangers: nothing outside of the folder that is written to changes, and nothing small takes much.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;

use sib_core::checkpoint::{read_tensors, write_tensors};
use tch::{Kind, Tensor};

use crate::workplace::{Workplace, assert_refused, assert_success, read, read_csv};

/// Changes tensors and metadata of a safetensors file.
fn change(
    path: &Path,
    how: impl FnOnce(&mut BTreeMap<String, Tensor>, &mut BTreeMap<String, String>),
) {
    let (mut tensors, mut metadata) = read_tensors(path).unwrap();
    how(&mut tensors, &mut metadata);
    write_tensors(path, &tensors, &metadata).unwrap();
}

#[test]
fn a_checkpoint_names_no_file_elsewhere_as_its_state() {
    let place = Workplace::new();
    for run in ["mine", "theirs"] {
        assert_success(&place.train(run, &["train.epochs=1"]));
    }
    let resume = ["train", "--resume", "theirs", "--set", "train.epochs=2"];
    let last = place.path("theirs/checkpoints/last.safetensors");
    let mine = place.path("mine/checkpoints/state-5.safetensors");
    let state = |name: &str| {
        change(&last, |_, metadata| {
            let mut extra: BTreeMap<String, String> =
                serde_json::from_str(&metadata["extra"]).unwrap();
            extra.insert("state".to_owned(), name.to_owned());
            metadata.insert("extra".to_owned(), serde_json::to_string(&extra).unwrap());
        });
    };
    for name in
        ["../../mine/checkpoints/state-5.safetensors", mine.to_str().unwrap(), "state-.safetensors"]
    {
        state(name);
        assert_refused(&place.run(&resume), 1, "expected state-STEP.safetensors");
        assert!(mine.is_file());
    }
    // A state that counts other updates than its checkpoint.
    state("state-5.safetensors");
    change(&place.path("theirs/checkpoints/state-5.safetensors"), |_, text| {
        text.insert("steps".to_owned(), u64::MAX.to_string());
    });
    assert_refused(&place.run(&resume), 1, "theirs/checkpoints/state-5.safetensors: ");
}

#[test]
fn nothing_is_written_through_a_link() {
    let place = Workplace::with_checkpoint();
    std::fs::write(place.path("victim"), "mine").unwrap();
    let is_untouched = || assert_eq!(read(&place.path("victim")), b"mine");

    assert_success(&place.train("run", &["train.epochs=1"]));
    let longer = ["train", "--resume", "run", "--set", "train.epochs=2"];
    for (name, to) in
        [(".lock", "../victim"), ("tensorboard", "../other"), ("checkpoints", "../other")]
    {
        let own = place.path("run").join(name);
        let kept = place.path("kept");
        std::fs::rename(&own, &kept).unwrap();
        symlink(to, &own).unwrap();
        assert_refused(&place.run(&longer), 1, &format!("run/{name}: a link"));
        std::fs::remove_file(&own).unwrap();
        std::fs::rename(&kept, &own).unwrap();
    }
    is_untouched();

    let evaluate = ["evaluate", "--checkpoint", "net.safetensors", "--data", "synthetic"];
    let evaluate =
        [&evaluate[..], &["--suite", "accuracy", "--limit", "4", "--output", "e"]].concat();
    assert_success(&place.run(&evaluate));
    std::fs::remove_file(place.path("e/per_image.csv")).unwrap();
    std::fs::remove_file(place.path("e/summary.csv")).unwrap();
    symlink("../victim", place.path("e/per_image.csv")).unwrap();
    assert_refused(&place.run(&evaluate), 1, "e/per_image.csv: a link");
    is_untouched();

    let image = ["data", "export", "--data", "synthetic", "--limit", "1", "--output"];
    assert_success(&place.run(&[&image[..], &["images"]].concat()));
    let explain = ["explain", "--checkpoint", "net.safetensors", "--image", "images"];
    let explain = [&explain[..], &["--method", "saliency", "--output", "maps"]].concat();
    assert_success(&place.run(&explain));
    std::fs::remove_file(place.path("maps/manifest.csv")).unwrap();
    symlink("../victim", place.path("maps/manifest.csv")).unwrap();
    assert_success(&place.run(&[&explain[..], &["--overwrite"]].concat()));
    let name =
        std::fs::read_dir(place.path("images")).unwrap().next().unwrap().unwrap().file_name();
    std::fs::create_dir(place.path("again")).unwrap();
    symlink("../victim", place.path("again").join(name)).unwrap();
    assert_success(&place.run(&[&image[..], &["again"]].concat()));
    is_untouched();
}

#[test]
fn small_files_that_claim_much_are_refused_before_anything_is_made() {
    let place = Workplace::with_checkpoint();
    let network = place.path("net.safetensors");
    change(&network, |tensors, metadata| {
        metadata.insert("classes".to_owned(), "[]".to_owned());
        tensors.insert(
            "fc.weight".to_owned(),
            Tensor::zeros([1 << 40, 0], (Kind::Float, tch::Device::Cpu)),
        );
    });
    let predict =
        place.run(&["predict", "--checkpoint", "net.safetensors", "--image", "tiny.toml"]);
    assert_refused(&predict, 1, "net.safetensors: ");
    let images = "data.synthetic.train_images=400000000";
    assert_refused(&place.train("run", &[images]), 2, "10, one a class, to 10000000");

    std::fs::write(place.path("zero.toml"), "extend = \"/dev/zero\"\n").unwrap();
    let train = |file: &str| place.run(&["train", "--config", file, "--output", "run"]);
    assert_refused(&train("zero.toml"), 2, "/dev/zero: cannot read: not a plain file");
    for number in 0..6 {
        let next = format!("\"fan{}.toml\", ", number + 1).repeat(10);
        std::fs::write(place.path(&format!("fan{number}.toml")), format!("extend = [{next}]\n"))
            .unwrap();
    }
    std::fs::copy(place.path("tiny.toml"), place.path("fan6.toml")).unwrap();
    assert_refused(&train("fan0.toml"), 2, "too many files");
}

#[test]
fn a_class_name_is_no_formula_and_steers_no_terminal() {
    let place = Workplace::with_checkpoint();
    let names = |first: &str| {
        change(&place.path("net.safetensors"), |_, metadata| {
            let mut classes: Vec<String> = serde_json::from_str(&metadata["classes"]).unwrap();
            classes.iter_mut().enumerate().for_each(|(at, name)| *name = format!("{first}{at}"));
            metadata.insert("classes".to_owned(), serde_json::to_string(&classes).unwrap());
        });
    };
    let image = ["data", "export", "--data", "synthetic", "--limit", "1", "--output", "images"];
    assert_success(&place.run(&image));
    let predict = ["predict", "--checkpoint", "net.safetensors", "--image", "images"];
    names("=HYPERLINK(\"x\")");
    assert_success(&place.run(&[&predict[..], &["--output", "p.csv"]].concat()));
    let rows = read_csv(&place.path("p.csv"));
    assert!(rows.iter().all(|row| row["class_name"].starts_with("'=HYPERLINK(\"x\")")), "{rows:?}");
    names("\u{1b}]0;x\u{7}");
    let refused = place.run(&predict);
    assert_refused(&refused, 1, "by a control character");
    assert!(!refused.stderr.contains(&0x1b));
}

#[test]
fn a_folder_of_heatmaps_is_no_formula() {
    let place = Workplace::with_checkpoint();
    let evaluate = [
        "evaluate",
        "--checkpoint",
        "net.safetensors",
        "--data",
        "synthetic",
        "--suite",
        "localization",
    ];
    for name in ["=1+1", "-x", "a\u{1b}b"] {
        std::fs::create_dir(place.path(name)).unwrap();
        let refused = place
            .run(&[&evaluate[..], &["--output", "e", "--heatmaps", &format!("./{name}")]].concat());
        assert_refused(&refused, 2, "expected a folder whose name can be a method's");
        assert!(!refused.stderr.contains(&0x1b) && !place.path("e").exists());
    }
}
