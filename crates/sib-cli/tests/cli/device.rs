//! The commands on `--device cuda` against the CPU, where `SIB_TEST_DEVICE=cuda` says that there is one (a GPU, or
//! the simulated device of `scripts/simcuda.sh`).

use std::collections::BTreeMap;
use std::path::Path;

use sib_core::testing::test_device;
use sib_models::Arch;
use tch::{Device, Tensor};

use crate::workplace::{
    Workplace, assert_refused, assert_success, read, read_csv, stderr, train_arguments,
};

const FAMILIES: [Arch; 4] = [Arch::ResNet18, Arch::DenseNet121, Arch::Vgg16Bn, Arch::VitB32];

/// Whether there is nothing to compare.
fn is_cpu() -> bool {
    test_device() == Device::Cpu
}

/// How far numbers may be apart, of their size or of 1.
const TOLERANCE: f64 = 5e-3;
/// The same of a gradient's norm: ReLUs and the statistics of few pixels amplify rounding, and at this size f32
/// gradients lie that far from f64's (the tests of `sib-models` compare those).
const OF_GRADIENTS: f64 = 0.2;

/// Compares two CSV files cell by cell, but for columns that say how long something took.
#[track_caller]
fn assert_alike(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (read_csv(ours), read_csv(theirs));
    assert_eq!(ours.len(), theirs.len());
    assert!(!ours.is_empty());
    for (number, (one, other)) in ours.iter().zip(&theirs).enumerate() {
        let is_norm = one.get("name").is_some_and(|name| name.contains("norm"));
        let tolerance = if is_norm { OF_GRADIENTS } else { TOLERANCE };
        for (column, cell) in one.iter().filter(|(column, _)| !column.contains("seconds")) {
            let both = (cell.parse::<f64>(), other[column].parse::<f64>());
            let alike = match both {
                (Ok(a), Ok(b)) => (a - b).abs() <= tolerance * b.abs().max(1.0),
                _ => *cell == other[column],
            };
            assert!(alike, "row {number}, {column}: {cell} and {}", other[column]);
        }
    }
}

/// Trains from the formula's weights for an epoch on both devices, with these settings, and too slowly for
/// updates to carry differences on.
#[track_caller]
fn assert_trains_alike(place: &Workplace, arch: Arch, settings: &[&str]) {
    let arch = format!("model.arch={arch}");
    let start = [
        "train.epochs=1",
        "train.log_every_steps=1",
        "train.optimizer.learning_rate=1e-9",
        "model.weights=formula.safetensors",
    ];
    let settings = [&start[..], &[&arch], settings].concat();
    for device in ["cpu", "cuda"] {
        let _ = std::fs::remove_dir_all(place.path(device));
        let arguments = train_arguments(device, &settings);
        assert_success(&place.run(&[&arguments[..], &["--device", device]].concat()));
    }
    assert_alike(&place.path("cuda/metrics.csv"), &place.path("cpu/metrics.csv"));
}

#[test]
fn every_family_trains_as_on_the_cpu() {
    if is_cpu() {
        return;
    }
    for arch in FAMILIES {
        let place = Workplace::new();
        place.formula_checkpoint(arch);
        assert_trains_alike(&place, arch, &["sib.enabled=false"]);
        assert_trains_alike(&place, arch, &[]);
    }
}

#[test]
fn every_option_of_an_update_works_as_on_the_cpu() {
    if is_cpu() {
        return;
    }
    let place = Workplace::new();
    place.formula_checkpoint(Arch::ResNet18);
    for settings in [
        &["train.accumulate_batches=2", "train.clip_norm=0.5", "train.ema_decay=0.9"][..],
        &["sib.weights=gradient-share", "sib.gradient_share.background=0.3"],
        &["train.log_gradient_norms=2", "train.optimizer.kind=sgd", "train.label_smoothing=0.1"],
        &["train.checkpoint_blocks=true", "train.deterministic=true"],
        &["train.freeze=['layer1', 'layer2']", "train.head_lr_factor=10"],
        &["sib.form=exponential", "sib.every=2", "sib.hsic.projection=64"],
    ] {
        assert_trains_alike(&place, Arch::ResNet18, settings);
    }
}

#[test]
fn a_run_goes_on_to_the_same_bytes() {
    if is_cpu() {
        return;
    }
    let place = Workplace::new();
    place.formula_checkpoint(Arch::ResNet18);
    let settings = ["train.epochs=2", "train.ema_decay=0.9", "model.weights=formula.safetensors"];
    for run in ["whole", "stopped"] {
        let arguments = [&train_arguments(run, &settings)[..], &["--device", "cuda"]].concat();
        if run == "whole" {
            assert_success(&place.run(&arguments));
        } else {
            place.killed_at("state:1", &arguments);
        }
    }
    assert_success(&place.run(&["train", "--resume", "stopped", "--device", "cuda"]));
    for file in ["metrics.csv", "checkpoints/last.safetensors"] {
        assert!(
            read(&place.path("whole").join(file)) == read(&place.path("stopped").join(file)),
            "{file}"
        );
    }
}

#[test]
fn an_update_that_is_not_finite_is_named_once_the_device_is_asked() {
    if is_cpu() {
        return;
    }
    let place = Workplace::new();
    let settings = ["train.optimizer.learning_rate=1e30", "train.log_every_steps=1000"];
    let arguments = [&train_arguments("run", &settings)[..], &["--device", "cuda"]].concat();
    let output = place.run(&arguments);
    assert_refused(&output, 1, "not finite");
    let failure = String::from_utf8(read(&place.path("run/failure.toml"))).unwrap();
    assert!(failure.contains("of step 1 (") || failure.contains("of step 2 ("), "{failure}");
    assert!(failure.contains("images = ["), "{failure}");
}

/// Whether the device is the simulated one, which takes orders and counts what it is asked.
fn is_simulated() -> bool {
    std::env::var("LD_PRELOAD").is_ok_and(|path| path.contains("simcuda"))
}

/// What each step of a training with these settings asks of the device, from its third on, as how often each kind of
/// event and operator comes. The first steps set up.
fn asked(settings: &[&str]) -> Vec<BTreeMap<(String, String), u64>> {
    let place = Workplace::new();
    let settings = [settings, &["train.epochs=1", "data.synthetic.train_images=96"]].concat();
    let arguments = [&train_arguments("run", &settings)[..], &["--device", "cuda"]].concat();
    let log = place.path("counts");
    let output = place.command(&arguments).env("SIMCUDA_LOG", &log).output().unwrap();
    assert_success(&output);
    let text = String::from_utf8(read(&log)).unwrap();
    let mut steps = BTreeMap::<u64, BTreeMap<_, u64>>::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("step ")) {
        let cells: Vec<_> = line.split('\t').collect();
        let event = (cells[1].to_owned(), cells[2].to_owned());
        let step = steps.entry(cells[0].parse().unwrap()).or_default();
        *step.entry(event).or_default() += cells[3].parse::<u64>().unwrap();
    }
    // The last count is of what comes after the last update.
    steps.pop_last();
    steps.into_values().skip(2).collect()
}

/// How often each of these steps waits for the device: values read, copies to the host, and whatever else
/// synchronises.
fn waits(settings: &[&str]) -> Vec<u64> {
    let is_wait = |kind: &str| ["scalar", "to host", "synchronising"].contains(&kind);
    let of_step = |step: BTreeMap<(String, String), u64>| {
        step.iter().filter(|((kind, _), _)| is_wait(kind)).map(|(_, times)| times).sum()
    };
    asked(settings).into_iter().map(of_step).collect()
}

/// Second derivatives run through what lies behind the feature map alone, and before it there is the one backward pass
/// of plain training: counted in convolutions, of which ResNet-18 has 20, 5 of them in its last stage and 10 in its
/// last two.
#[test]
fn before_a_feature_map_that_r_is_taken_at_there_is_one_backward_pass() {
    if is_cpu() || !is_simulated() {
        return;
    }
    for (settings, behind) in [
        (&["sib.enabled=false"][..], 0),
        (&["sib.vjp.at=layer3"], 5),
        (&["sib.vjp.at=layer2"], 10),
        (&["sib.vjp.at=image"], 20),
    ] {
        for step in asked(settings) {
            let count = |operator: &str| step[&("kernel".to_owned(), operator.to_owned())];
            // R, then the derivatives of R by what enters each of its convolutions and by the weights.
            assert_eq!(count("aten::convolution"), 20 + behind, "{settings:?}");
            assert_eq!(count("aten::convolution_backward"), 20 + 2 * behind, "{settings:?}");
        }
    }
}

#[test]
fn a_step_that_is_not_logged_waits_for_nothing() {
    if is_cpu() || !is_simulated() {
        return;
    }
    let rarely = "train.log_every_steps=1000";
    for settings in [
        &["sib.enabled=false"][..],
        &[],
        &["train.clip_norm=0.5", "train.accumulate_batches=2", "data.mix.mixup.alpha=0.2"],
        &["sib.weights=gradient-share", "train.precision=bf16"],
        &["sib.vjp.at=layer3"],
        &["sib.images=2", "sib.scale=0.5"],
    ] {
        let waits = waits(&[settings, &[rarely]].concat());
        assert!(waits.len() >= 3 && waits.iter().all(|&n| n == 0), "{settings:?}: {waits:?}");
    }
    // What a value read in every step looks like.
    let waits = waits(&["train.log_every_steps=1"]);
    assert!(waits.len() >= 3 && waits.iter().all(|&n| n > 0), "{waits:?}");
}

#[test]
fn a_full_device_is_one_line_with_what_needs_less() {
    if is_cpu() || !is_simulated() {
        return;
    }
    let place = Workplace::new();
    let arguments = [&train_arguments("run", &[])[..], &["--device", "cuda"]].concat();
    let full = place.command(&arguments).env("SIMCUDA_MEMORY_MIB", "150").output().unwrap();
    assert_refused(&full, 1, "CUDA out of memory. Tried to allocate");
    assert!(stderr(&full).contains("hint: a smaller batch needs less: train.batch_size"));
    // Nothing is lost.
    assert_success(&place.run(&["train", "--resume", "run", "--device", "cuda"]));
}

#[test]
fn explanations_and_evaluations_are_those_of_the_cpu() {
    if is_cpu() {
        return;
    }
    // VGG's linear layers take long, and do nothing of their own.
    for arch in [Arch::ResNet18, Arch::DenseNet121, Arch::VitB32] {
        let place = Workplace::new();
        let checkpoint = place.formula_checkpoint(arch).display().to_string();
        assert_success(&place.run(&[
            "data",
            "export",
            "--data",
            "synthetic",
            "--limit",
            "2",
            "--output",
            "images",
        ]));
        for device in ["cpu", "cuda"] {
            let folder = |what: &str| format!("{what}-{device}");
            let (explained, evaluated) = (folder("explained"), folder("evaluated"));
            assert_success(&place.run(&[
                "explain",
                "--checkpoint",
                &checkpoint,
                "--image",
                "images",
                "--method",
                "all",
                "--output",
                &explained,
                "--device",
                device,
                "--set",
                "integrated-gradients.steps=4",
            ]));
            assert_success(&place.run(&[
                "evaluate",
                "--checkpoint",
                &checkpoint,
                "--data",
                "synthetic",
                "--suite",
                "all",
                "--method",
                "all",
                "--limit",
                "2",
                "--output",
                &evaluated,
                "--device",
                device,
                "--set",
                "integrated-gradients.steps=4",
            ]));
            let predicted = place.run(&[
                "predict",
                "--checkpoint",
                &checkpoint,
                "--image",
                "images",
                "--device",
                device,
            ]);
            assert_success(&predicted);
            std::fs::write(place.path(&format!("{device}.csv")), predicted.stdout).unwrap();
        }
        assert_alike(&place.path("cuda.csv"), &place.path("cpu.csv"));
        let [cpu, cuda] = ["explained-cpu", "explained-cuda"].map(|name| place.path(name));
        let mut maps = 0;
        for entry in std::fs::read_dir(&cpu).unwrap() {
            let name = entry.unwrap().file_name();
            if Path::new(&name).extension().is_some_and(|ending| ending == "npy") {
                let [a, b] =
                    [&cpu, &cuda].map(|folder| Tensor::read_npy(folder.join(&name)).unwrap());
                // A map of one cell has no range.
                let range = (a.max() - a.min()).maximum(&(a.abs().max() * 1e-3));
                let range = range.double_value(&[]).max(1e-5);
                let difference = (&a - &b).abs().max().double_value(&[]) / range;
                assert!(difference < 1e-3, "{arch} {name:?}: {difference:e}");
                maps += 1;
            }
        }
        assert!(maps >= 7, "{maps}");
        for file in ["per_image.csv", "summary.csv"] {
            assert_alike(
                &place.path("evaluated-cuda").join(file),
                &place.path("evaluated-cpu").join(file),
            );
        }
    }
}
