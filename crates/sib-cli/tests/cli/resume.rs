//! `train --resume`: what was cut short goes on, what is at its end stays, what may change is followed,
//! anything else is refused by name.

use std::path::Path;

use crate::workplace::{
    Workplace, assert_refused, assert_success, read, read_csv, stderr, train_arguments,
};

/// All files of a run, by name.
fn files(place: &Workplace, run: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for folder in ["", "checkpoints"] {
        for entry in std::fs::read_dir(place.path(run).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                found.push((path.display().to_string(), read(&path)));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_finished_run_is_left_as_it_is() {
    let place = Workplace::new();
    assert_success(&place.train("run", &["train.epochs=1"]));
    let before = files(&place, "run");
    let weights_gone = ["train", "--resume", "run"];
    for arguments in [&weights_gone[..], &["train", "--resume", "run", "--set", "data.workers=1"]] {
        let output = place.run(arguments);
        assert_success(&output);
        assert!(stderr(&output).contains("already finished after 1 epoch,"), "{}", stderr(&output));
        assert_eq!(files(&place, "run"), before);
    }
}

#[test]
fn a_run_is_extended_to_the_bytes_of_a_longer_one() {
    let place = Workplace::new();
    assert_success(&place.train("long", &["train.epochs=2"]));
    assert_success(&place.train("short", &["train.epochs=1"]));
    let output = place.run(&["train", "--resume", "short", "--set", "train.epochs=2"]);
    assert_success(&output);
    let said = stderr(&output);
    assert!(said.contains("train.epochs: 1 -> 2"), "{said}");
    assert!(said.contains("at every step that of a run of 2 epochs"), "{said}");
    for file in ["metrics.csv", "config.toml", "checkpoints/last.safetensors"] {
        let [long, short] = ["long", "short"].map(|run| read(&place.path(run).join(file)));
        assert!(long == short, "{file}");
    }
    assert!(
        String::from_utf8(read(&place.path("short/status.toml"))).unwrap().contains("epochs = 2")
    );

    // A cosine is another curve when it is longer.
    let cosine = ["train.epochs=1", "train.schedule.kind=cosine"];
    assert_success(&place.train("cosine", &cosine));
    let output = place.run(&["train", "--resume", "cosine", "--set", "train.epochs=2"]);
    assert_success(&output);
    assert!(stderr(&output).contains("followed that of 1 epoch,"), "{}", stderr(&output));

    let output = place.run(&["train", "--resume", "short", "--set", "train.epochs=1"]);
    assert_refused(&output, 1, "train.epochs: got 1, but 2 epochs are trained already");
    assert!(place.path("short/status.toml").is_file());
}

#[test]
fn what_would_be_another_run_is_refused_by_its_key() {
    let place = Workplace::new();
    assert_success(&place.train("run", &["train.max_hours=1e-9"]));
    for (setting, key) in [
        ("train.batch_size=4", "train.batch_size was 8 when the run was saved, now it is 4"),
        ("train.optimizer.learning_rate=0.5", "train.optimizer.learning_rate was 0.0001"),
        ("sib.lambda_bg=1", "sib.lambda_bg was 1000.0"),
        ("sib.enabled=false", "sib.enabled was true"),
        ("data.synthetic.seed=9", "data.synthetic.seed was"),
        ("train.seed=1", "train.seed was 43"),
        ("model.arch=resnet50", "model.arch was resnet18"),
    ] {
        let output = place.run(&["train", "--resume", "run", "--set", setting]);
        assert_refused(&output, 2, key);
    }
    // The same of a file that was changed by hand.
    let file = place.path("run/config.toml");
    let config = String::from_utf8(read(&file)).unwrap();
    std::fs::write(&file, config.replace("weight_decay = 0.0001", "weight_decay = 0.5")).unwrap();
    let output = place.run(&["train", "--resume", "run"]);
    assert_refused(&output, 2, "train.optimizer.weight_decay was 0.0001");
}

/// A folder of two classes with 12 training images, 4 to test.
fn write_images(place: &Workplace, root: &str) {
    for (split, number) in [("train", 6_u8), ("test", 2)] {
        for (class, red) in [("a", 200_u8), ("b", 20)] {
            let folder = place.path(root).join(split).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            for i in 0..number {
                let image = image::RgbImage::from_pixel(40, 40, image::Rgb([red, 30 * i, 7]));
                image.save(folder.join(format!("{i}.png"))).unwrap();
            }
        }
    }
}

#[test]
fn moved_images_are_followed_and_other_images_are_not() {
    let place = Workplace::new();
    write_images(&place, "here");
    let settings =
        ["data.name=folder", "data.root=here", "train.batch_size=4", "train.max_hours=1e-9"];
    assert_success(&place.train("run", &settings));
    std::fs::rename(place.path("here"), place.path("there")).unwrap();
    let output = place.run(&["train", "--resume", "run"]);
    let gone = place.path("here").display().to_string();
    assert_refused(&output, 1, &format!("{gone}: "));
    let follow =
        ["train", "--resume", "run", "--set", "data.root=there", "--set", "train.epochs=1"];
    // One image more in one class and one less in the other: as many updates an epoch.
    let (from, to) = (place.path("there/train/a/0.png"), place.path("there/train/b/6.png"));
    std::fs::rename(&from, &to).unwrap();
    assert_refused(&place.run(&follow), 1, "not those that the run was begun with");
    std::fs::rename(&to, &from).unwrap();
    let without_limit = [&follow[..], &["--set", "train.max_hours=1"]].concat();
    let output = place.run(&without_limit);
    assert_success(&output);
    let config = String::from_utf8(read(&place.path("run/config.toml"))).unwrap();
    assert!(config.contains(&place.path("there").display().to_string()), "{config}");
}

#[test]
fn initial_weights_are_needed_at_the_start_only() {
    let place = Workplace::with_checkpoint();
    let settings = ["model.weights=net.safetensors", "train.epochs=1", "train.max_hours=1e-9"];
    assert_success(&place.train("run", &settings));
    std::fs::remove_file(place.path("net.safetensors")).unwrap();
    let output = place.run(&["train", "--resume", "run", "--set", "train.max_hours=1"]);
    assert_success(&output);
    assert!(place.path("run/status.toml").is_file());
}

#[test]
fn the_best_checkpoint_is_chosen_on_validation_where_there_is_such_a_split() {
    let place = Workplace::new();
    write_images(&place, "images");
    let settings = ["data.name=folder", "data.root=images", "train.batch_size=4", "train.epochs=2"];
    let output = place.train("without", &settings);
    assert_success(&output);
    assert!(stderr(&output).contains("no validation split: best.safetensors is chosen on test"));
    let chosen_on = |run: &str| {
        let best = place.path(run).join("checkpoints/best.safetensors");
        sib_core::checkpoint::read_meta(&best).unwrap().extra["chosen_on"].clone()
    };
    assert_eq!(chosen_on("without"), "test");

    // What is right for training and test is wrong for validation: the accuracies move apart.
    for (from, to) in [("test/a", "val/b"), ("test/b", "val/a")] {
        let folder = place.path("images").join(to);
        std::fs::create_dir_all(&folder).unwrap();
        for entry in std::fs::read_dir(place.path("images").join(from)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
    let output = place.train("with", &settings);
    assert_success(&output);
    let said = stderr(&output);
    assert!(
        said.contains("chosen on the validation split") && said.contains("epoch 2/2: val top-1"),
        "{said}"
    );
    assert_eq!(chosen_on("with"), "val");
    let rows = read_csv(&place.path("with/metrics.csv"));
    let top1 = |split: &str| -> Vec<f64> {
        let rows = rows.iter().filter(|row| row["split"] == split && row["name"] == "top1");
        rows.map(|row| row["value"].parse().unwrap()).collect()
    };
    let (val, test) = (top1("val"), top1("test"));
    assert_eq!((val.len(), test.len()), (2, 2));
    assert!(
        val.iter().zip(&test).all(|(val, test)| (val + test - 100.0).abs() < 1e-9),
        "{val:?} {test:?}"
    );
    // The state that early stopping goes by holds validation's value.
    let state = std::fs::read_dir(place.path("with/checkpoints")).unwrap();
    let state =
        state.map(|e| e.unwrap().path()).find(|p| p.display().to_string().contains("state-"));
    let text = sib_core::checkpoint::read_metadata(&state.unwrap()).unwrap();
    let best = val.iter().copied().fold(f64::MIN, f64::max);
    assert_eq!(text["best_value"].parse::<f64>().unwrap(), best);
    // A tenth of the images would do.
    let output =
        place.train("few", &[&settings[..], &["data.limit_val=2", "train.epochs=1"]].concat());
    assert_success(&output);
}

/// Builds with debug assertions have failpoints.
#[test]
#[cfg(debug_assertions)]
fn killed_between_any_two_writes_it_goes_on_bit_for_bit() {
    let place = Workplace::new();
    // Saved after every update.
    let settings = ["train.epochs=2", "train.checkpoint_every_minutes=1e-9", "train.ema_decay=0.5"];
    assert_success(&place.train("through", &settings));
    place.killed_at("metrics:1", &train_arguments("killed", &settings));
    let resume = ["train", "--resume", "killed"];
    for (point, done) in [
        // A state that no checkpoint names yet, and one with its checkpoint.
        ("state:1", None),
        ("last:1", Some(1)),
        ("state:2", Some(2)),
        ("metrics:1", Some(2)),
        // The former state is still there.
        ("last:2", Some(4)),
        // The best network of an epoch that has not been saved.
        ("best:1", Some(4)),
        ("last:1", Some(5)),
        ("state:5", Some(9)),
        ("status:1", Some(10)),
    ] {
        place.killed_at(point, &resume);
        let last = place.path("killed/checkpoints/last.safetensors");
        let steps = last.exists().then(|| {
            let meta = sib_core::checkpoint::read_meta(&last).unwrap();
            meta.extra["steps"].parse::<u64>().unwrap()
        });
        assert_eq!(steps, done, "{point}");
    }
    let output = place.run(&resume);
    assert_success(&output);
    assert!(stderr(&output).contains("already finished after 2 epochs"), "{}", stderr(&output));

    let [through, killed] = ["through", "killed"].map(|run| place.path(run));
    for file in ["metrics.csv", "checkpoints/last.safetensors", "checkpoints/best.safetensors"] {
        assert!(read(&through.join(file)) == read(&killed.join(file)), "{file}");
    }
    let state = |run: &Path| {
        let path = run.join("checkpoints/state-10.safetensors");
        let (tensors, mut text) = sib_core::checkpoint::read_tensors(&path).unwrap();
        let seconds: f64 = text.remove("seconds").unwrap().parse().unwrap();
        assert!(seconds > 0.0);
        (tensors, text)
    };
    assert_eq!(state(&through), state(&killed));
    let status = |run: &Path| {
        let text = String::from_utf8(read(&run.join("status.toml"))).unwrap();
        let mut status: toml::Table = toml::from_str(&text).unwrap();
        status.remove("seconds").unwrap();
        status
    };
    assert_eq!(status(&through), status(&killed));
}
