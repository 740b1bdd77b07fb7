//! The configurations that come with the program: each is read, and where its images are there, a
//! network is trained by it for a step.

use std::path::{Path, PathBuf};

use sib_core::testing::shared_path;
use sib_models::Arch;

use crate::workplace::{Workplace, assert_success, in_process, read_csv};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").canonicalize().unwrap()
}

/// All `.toml` files in `folder` and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ending| ending == "toml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_file_is_a_configuration() {
    let place = Workplace::new();
    let nowhere = place.path("nowhere").display().to_string();
    let files = files(&folder());
    assert!(files.len() > 60, "{}", files.len());
    for file in files {
        let [root, weights] =
            ["data.root", "model.weights"].map(|key| format!("{key}={nowhere}.toml-was-read"));
        let run = place.path("run").display().to_string();
        let file = file.display().to_string();
        let arguments =
            ["train", "--config", &file, "--set", &root, "--set", &weights, "--output", &run];
        // The first thing to miss is the images or the weights, after the file was read and checked.
        let error = in_process(&arguments.map(str::to_owned)).unwrap_err();
        assert!(error.contains("nowhere.toml-was-read"), "{file}: {error}");
    }
}

/// The archive in `../shared/data` that the configuration reads, by the first word of its name.
fn archive(name: &str) -> Option<&'static str> {
    let stem = Path::new(name).file_stem().unwrap().to_str().unwrap();
    match stem.split('-').next().unwrap() {
        "cifar100" => Some("cifar-100-binary"),
        "cub200" => Some("CUB_200_2011"),
        "dogs" => Some("stanford-dogs"),
        "imagenet" => Some("imagenet"),
        "pets" => Some("oxford-iiit-pet"),
        _ => None,
    }
}

/// Trains by the configuration for one step, in small, where its images are there.
fn step(place: &Workplace, name: &str, weights: &Path) {
    let file = folder().join(name).display().to_string();
    let mut settings = vec![
        "data.preprocessing.resize_px=36".to_owned(),
        "data.preprocessing.crop_px=32".to_owned(),
        "data.allow_missing=true".to_owned(),
        "data.limit_train=4".to_owned(),
        "data.limit_test=4".to_owned(),
        "train.batch_size=4".to_owned(),
        "train.epochs=1".to_owned(),
        format!("model.weights={}", weights.display()),
    ];
    if let Some(archive) = archive(name) {
        let Some(root) = shared_path(&format!("data/{archive}")) else { return };
        settings.push(format!("data.root={}", root.display()));
    }
    let mut arguments = vec!["train", "--config", &file, "--output", "run"];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    assert_success(&place.run(&arguments));
    let log = read_csv(&place.path("run/metrics.csv"));
    let has = |name: &str| log.iter().any(|row| row["step"] == "1" && row["name"] == name);
    assert!(has("loss") && has("top1"), "{file}");
    assert_eq!(has("background"), name.contains("sib"), "{file}");
    assert!(place.path("run/status.toml").is_file(), "{file}");
    std::fs::remove_dir_all(place.path("run")).unwrap();
}

#[test]
fn a_step_by_the_configurations_of_the_demo() {
    let (place, weights) = with_weights(Arch::ResNet18);
    for name in ["demo/warmup.toml", "demo/baseline.toml", "demo/sib.toml"] {
        step(&place, name, &weights);
    }
}

#[test]
fn a_step_by_the_configurations_of_each_dataset() {
    let (place, weights) = with_weights(Arch::ResNet18);
    let mut tried = 0;
    for file in files(&folder().join("mini")).into_iter().chain(files(&folder().join("paper"))) {
        let name = file.strip_prefix(folder()).unwrap().display().to_string();
        let is_whole = name.starts_with("mini/") && !name.ends_with("common.toml");
        if is_whole || name.contains("-resnet18") {
            tried += 1;
            step(&place, &name, &weights);
        }
    }
    assert_eq!(tried, 4 * 2 + 5 * 2);
}

#[test]
fn a_step_by_the_configurations_of_each_network() {
    let mut tried = 0;
    for file in files(&folder().join("paper")) {
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let arch = stem.strip_prefix("cifar100-").and_then(|rest| rest.strip_suffix("-sib"));
        if let Some(arch) = arch.filter(|arch| *arch != "resnet18") {
            tried += 1;
            let (place, weights) = with_weights(arch.parse().unwrap());
            step(&place, &format!("paper/{stem}.toml"), &weights);
        }
    }
    assert_eq!(tried, 3);
}

/// A place with initial weights of the network.
fn with_weights(arch: Arch) -> (Workplace, PathBuf) {
    let place = Workplace::new();
    let weights = place.formula_checkpoint(arch);
    (place, weights)
}
