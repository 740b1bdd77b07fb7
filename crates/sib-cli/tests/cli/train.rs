//! `train` from end to end on the built-in data: what it logs, how it stops, and what it says of bad input.

use crate::workplace::{Workplace, assert_refused, assert_success, read, stderr};

#[test]
fn the_log_holds_every_term_of_every_step() {
    let place = Workplace::new();
    assert_success(&place.train(
        "run",
        &["train.epochs=1", "train.log_gradient_norms=2", "train.log_information=true"],
    ));
    let log = String::from_utf8(read(&place.path("run/metrics.csv"))).unwrap();
    for name in [
        "loss",
        "cross_entropy",
        "foreground",
        "background",
        "hsic",
        "vjp_norm",
        "mask_mean",
        "learning_rate",
    ] {
        let values: Vec<f64> = log
            .lines()
            .filter_map(|line| line.split_once(&format!(",train,{name},"))?.1.parse().ok())
            .collect();
        assert_eq!(values.len(), 5, "{name}");
        assert!(values.iter().all(|value| value.is_finite()), "{name}: {values:?}");
    }
    assert_eq!(log.matches("gradient_norm_background").count(), 3);
    // Accuracy and loss; two regions of the image, two of R, three measures, each beside random pairs.
    assert_eq!(log.matches(",test,").count(), 3 + 2 * 2 * 3 * 2);
    assert_eq!(log.matches("_null,").count(), 2 * 2 * 3);
    for file in ["config.toml", "environment.toml", "status.toml", "checkpoints/best.safetensors"] {
        assert!(place.path("run").join(file).is_file(), "{file}");
    }
}

#[test]
fn a_run_repeats_from_its_own_folder() {
    let place = Workplace::new();
    let settings = ["train.epochs=1", "sib.every=2", "train.seed=7"];
    assert_success(&place.train("first", &settings));
    let again = ["train", "--config", "first/config.toml", "--output", "second"];
    assert_success(&place.run(&again));
    for file in ["metrics.csv", "config.toml", "checkpoints/last.safetensors"] {
        assert!(
            read(&place.path("first").join(file)) == read(&place.path("second").join(file)),
            "{file}"
        );
    }
}

#[test]
fn with_every_option_a_run_that_stops_after_each_update_ends_the_same() {
    let place = Workplace::new();
    let settings = [
        "train.accumulate_batches=2",
        "train.checkpoint_blocks=true",
        "train.ema_decay=0.9",
        "train.clip_norm=1.0",
        "train.label_smoothing=0.1",
        "train.optimizer.decay_norms_and_biases=false",
        "train.schedule.kind=cosine",
        "train.schedule.warmup_epochs=1",
        "sib.weights=gradient-share",
        "data.augment=true",
        "data.trivial_augment=true",
        "data.mix={ cut-mix = { alpha = 1.0 } }",
        "data.class_balanced=true",
        "data.cache_mib=1",
    ];
    assert_success(&place.train("through", &settings));
    // Stops after its first update, and after each one more.
    let mut output = place.train("stopped", &[&settings[..], &["train.max_hours=1e-9"]].concat());
    let mut stops = 0;
    while !place.path("stopped/status.toml").exists() {
        assert_success(&output);
        assert!(stderr(&output).contains("train.max_hours reached"), "{}", stderr(&output));
        stops += 1;
        assert!(stops <= 6, "two updates an epoch, three epochs");
        output = place.run(&["train", "--resume", "stopped"]);
    }
    assert_eq!(stops, 5);
    let tensors = |run: &str, file: &str| {
        let path = place.path(run).join("checkpoints").join(file);
        sib_core::checkpoint::read_tensors(&path).unwrap().0
    };
    assert!(read(&place.path("through/metrics.csv")) == read(&place.path("stopped/metrics.csv")));
    for file in ["last.safetensors", "best.safetensors", "state-6.safetensors"] {
        assert_eq!(tensors("through", file), tensors("stopped", file), "{file}");
    }
    // What was evaluated is the average, not the last weights.
    let (last, state) = (tensors("through", "last.safetensors"), "state-6.safetensors");
    assert_ne!(tensors("through", state)["average.fc.weight"], last["fc.weight"]);
}

#[test]
fn a_run_goes_on_with_other_settings_aloud_and_with_other_batches_not_at_all() {
    let place = Workplace::new();
    assert_success(&place.train("run", &["train.max_hours=1e-9"]));
    let file = place.path("run/config.toml");
    let config = String::from_utf8(read(&file)).unwrap();
    let set = |key: &str, value: &str| {
        let changed: Vec<String> = config
            .lines()
            .map(|line| match line.split_once(" = ") {
                Some((name, _)) if name == key => format!("{key} = {value}"),
                _ => line.to_owned(),
            })
            .collect();
        std::fs::write(&file, changed.join("\n")).unwrap();
        place.run(&["train", "--resume", "run"])
    };
    let output = set("batch_size", "4");
    assert_refused(&output, 2, "train.batch_size was 8 when the run was saved, now it is 4");
    let output = set("max_hours", "1.0");
    assert_success(&output);
    assert!(stderr(&output).contains("train.max_hours: 0.000000001 -> 1.0"), "{}", stderr(&output));
}

#[test]
fn training_stops_when_the_metric_no_longer_gets_better() {
    let place = Workplace::new();
    let settings = [
        "train.optimizer.learning_rate=1e-30",
        "train.early_stop_epochs=1",
        "train.best_metric=top5",
        "train.epochs=9",
    ];
    let output = place.train("run", &settings);
    assert_success(&output);
    let status = String::from_utf8(read(&place.path("run/status.toml"))).unwrap();
    assert!(status.contains("state = \"stopped early\""), "{status}");
    assert!(stderr(&output).contains("top5 was best after epoch"), "{}", stderr(&output));
}

#[test]
fn a_loss_that_is_not_finite_stops_and_names_the_images() {
    let place = Workplace::new();
    let output = place.train("run", &["train.optimizer.learning_rate=1e30"]);
    assert_refused(&output, 1, "run/failure.toml: names the images: ");
    let failure = String::from_utf8(read(&place.path("run/failure.toml"))).unwrap();
    let failure: toml::Table = toml::from_str(&failure).unwrap();
    assert_eq!(failure["images"].as_array().unwrap().len(), 8);
    let problem = failure["problem"].as_str().unwrap();
    assert!(problem.contains("cross_entropy"), "{problem}");
    assert!(!place.path("run/status.toml").exists());
}

#[test]
fn bad_input_is_refused_in_one_line_before_a_run_folder_is_made() {
    let place = Workplace::new();
    let refused: [(&[&str], i32, &str); 12] = [
        (&["train.epoch=1"], 2, "unknown field `epoch`"),
        (&["train.batch_size=1"], 2, "train.batch_size: got 1, expected at least 2"),
        (&["train.batch_size=41"], 2, "batch_size: got 41, expected at most the 40 images"),
        (&["sib.mask.window_px=4"], 2, "sib.mask.window_px: got 4, expected an odd number"),
        (&["train.accumulate_batches=6"], 2, "got 6, expected at most the 5 batches of an epoch"),
        (&["train.best_metric=top2"], 2, "train.best_metric: got top2, expected one of top1, top5"),
        (&["train.ema_decay=1.0"], 2, "train.ema_decay: got 1, expected a number in [0, 1)"),
        (&["data.mix={ mixup = { alpha = 0 } }"], 2, "data.mix.mixup.alpha: got 0, expected"),
        (&["data.name=pets", "data.root=nowhere"], 1, "nowhere: "),
        (&["data.name=pets"], 2, "data.root: not set"),
        (&["model.weights=nowhere.pth"], 1, "nowhere.pth: cannot read"),
        (&["model.arch=resnet19"], 2, "one of resnet18, resnet34, resnet50, "),
    ];
    for (settings, code, expected) in refused {
        assert_refused(&place.train("run", settings), code, expected);
        assert!(!place.path("run").exists(), "{settings:?}");
    }
    let cuda = ["train", "--config", "tiny.toml", "--output", "run", "--device", "cuda:99"];
    assert_refused(&place.run(&cuda), 2, "device cuda:99 is not available: ");
    assert_refused(&place.run(&["train", "--config", "none.toml"]), 2, "none.toml: cannot read");
    assert_refused(&place.run(&["train", "--resume", "."]), 2, "config.toml: cannot read");
}

#[test]
fn a_folder_that_holds_a_run_is_left_alone() {
    let place = Workplace::new();
    std::fs::create_dir_all(place.path("run")).unwrap();
    std::fs::write(place.path("run/notes.txt"), "precious").unwrap();
    let output = place.train("run", &[]);
    assert_refused(&output, 1, "the run folder is not empty");
    assert!(stderr(&output).contains("hint: "));
    assert_eq!(std::fs::read_dir(place.path("run")).unwrap().count(), 1);
}
