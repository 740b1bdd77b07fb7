//! `import`: what is kept of a checkpoint, what an output loses never, and weights that must not be used.

use std::collections::BTreeMap;
use std::path::Path;

use sib_core::checkpoint::{CheckpointMeta, read_checkpoint, read_meta, write_checkpoint};
use tch::Tensor;

use crate::workplace::{Workplace, assert_refused, assert_success, read, stderr};

/// `net.safetensors` of the workplace with a change, as `name`.
fn changed(
    place: &Workplace,
    name: &str,
    change: impl FnOnce(&mut BTreeMap<String, Tensor>, &mut CheckpointMeta),
) {
    let (mut tensors, mut meta) = read_checkpoint(&place.path("net.safetensors")).unwrap();
    change(&mut tensors, &mut meta);
    write_checkpoint(&place.path(name), &tensors, &meta).unwrap();
}

fn import<'a>(weights: &'a str, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let arguments = ["import", weights, "--arch", "resnet18", "--output", output];
    arguments.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn a_checkpoint_keeps_its_classes_and_its_preprocessing_where_no_flag_says_otherwise() {
    let place = Workplace::with_checkpoint();
    let own = read_meta(&place.path("net.safetensors")).unwrap();
    assert_eq!((own.preprocessing.crop_px, own.preprocessing.mean), (32, [0.5; 3]));
    let output = place.run(&import("net.safetensors", "same.safetensors", &[]));
    assert_success(&output);
    assert!(
        stderr(&output).contains("net.safetensors: 122 tensors loaded\n"),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains("kept 10 class names"), "{}", stderr(&output));
    let same = read_meta(&place.path("same.safetensors")).unwrap();
    assert_eq!(
        (&same.classes, &same.preprocessing, &same.config),
        (&own.classes, &own.preprocessing, &own.config)
    );

    // A byte-order mark, carriage returns and blank lines are no names.
    let names: Vec<_> = (0..10).map(|i| format!("{i}. Art")).collect();
    let text = format!("\u{feff}{}\r\n\r\n", names.join("\r\n"));
    std::fs::write(place.path("classes.txt"), text).unwrap();
    let flags = ["--classes", "classes.txt", "--crop-px", "30", "--std", "0.2,0.3,0.4"];
    assert_success(&place.run(&import("net.safetensors", "flags.safetensors", &flags)));
    let other = read_meta(&place.path("flags.safetensors")).unwrap();
    assert_eq!(other.classes, names);
    assert_eq!((other.preprocessing.resize_px, other.preprocessing.crop_px), (32, 30));
    assert_eq!((other.preprocessing.mean, other.preprocessing.std), ([0.5; 3], [0.2, 0.3, 0.4]));

    // A head that stays keeps its names, a fresh one has none.
    let flags = ["--num-classes", "10", "--overwrite"];
    assert_success(&place.run(&import("net.safetensors", "flags.safetensors", &flags)));
    assert_eq!(read_meta(&place.path("flags.safetensors")).unwrap().classes, own.classes);
    let flags = ["--num-classes", "4", "--overwrite"];
    assert_success(&place.run(&import("net.safetensors", "flags.safetensors", &flags)));
    assert!(read_meta(&place.path("flags.safetensors")).unwrap().classes.is_empty());
}

#[test]
fn what_is_there_is_replaced_on_demand_only_and_never_lost() {
    let place = Workplace::with_checkpoint();
    std::fs::write(place.path("there"), "precious").unwrap();
    let output = place.run(&import("net.safetensors", "there", &[]));
    assert_refused(&output, 1, "there: is there already");
    assert!(stderr(&output).contains("hint: --overwrite"), "{}", stderr(&output));
    // What fails later leaves it as well.
    std::fs::write(place.path("short.txt"), "one\n").unwrap();
    let wrong = ["--overwrite", "--classes", "short.txt"];
    assert_refused(
        &place.run(&import("net.safetensors", "there", &wrong)),
        2,
        "--classes: 1 names",
    );
    assert_refused(
        &place.run(&import("no.pth", "there", &["--overwrite"])),
        1,
        "no.pth: cannot read",
    );
    assert_eq!(read(&place.path("there")), b"precious");
    assert_success(&place.run(&import("net.safetensors", "there", &["--overwrite"])));
    assert!(read_meta(&place.path("there")).is_ok());
    // A file onto itself.
    assert_success(&place.run(&import("there", "there", &["--overwrite"])));
    assert_eq!(read_checkpoint(&place.path("there")).unwrap().0.len(), 122);

    std::fs::create_dir(place.path("folder")).unwrap();
    assert_refused(
        &place.run(&import("there", "folder", &["--overwrite"])),
        2,
        "folder is a folder",
    );
    assert_refused(&place.run(&import("there", "none/net", &[])), 1, "none: no such folder");
}

#[test]
fn class_names_that_stand_twice_are_refused() {
    let place = Workplace::with_checkpoint();
    let names: Vec<_> = (0..10).map(|i| format!("{}", i % 9)).collect();
    std::fs::write(place.path("twice.txt"), names.join("\n")).unwrap();
    let output = place.run(&import("net.safetensors", "a", &["--classes", "twice.txt"]));
    assert_refused(&output, 1, "twice.txt: names class \"0\" twice");
    changed(&place, "twice.safetensors", |_, meta| meta.classes = names.clone());
    for arguments in [
        import("twice.safetensors", "a", &[]),
        vec!["predict", "--checkpoint", "twice.safetensors", "--image", "tiny.toml"],
    ] {
        let output = place.run(&arguments);
        assert_refused(&output, 1, "twice.safetensors: header, it names class \"0\" twice");
    }
    assert!(!place.path("a").exists());
}

#[test]
fn weights_that_are_not_finite_are_refused_wherever_they_enter() {
    let place = Workplace::with_checkpoint();
    let photo = image(&place.path("photo.png"));
    for (name, value) in [("layer4.1.bn2.weight", f64::NAN), ("bn1.running_mean", f64::INFINITY)] {
        changed(&place, "bad.safetensors", |tensors, _| {
            let broken = tensors[name].full_like(value);
            tensors.insert(name.to_owned(), broken);
        });
        let size = if name.starts_with("bn1") { 64 } else { 512 };
        let expected = format!("bad.safetensors: not finite: {size} of {size} values of {name:?}");
        let set = ["model.weights=bad.safetensors", "train.epochs=1"];
        for output in [
            place.run(&import("bad.safetensors", "out.safetensors", &[])),
            place.run(&["predict", "--checkpoint", "bad.safetensors", "--image", photo]),
            place.train("run", &set),
        ] {
            assert_refused(&output, 1, &expected);
        }
        assert!(!place.path("out.safetensors").exists());
        let _ = std::fs::remove_dir_all(place.path("run"));
    }
}

#[test]
fn a_run_does_not_go_on_from_a_state_that_is_not_finite() {
    let place = Workplace::new();
    let set = ["train.epochs=2", "train.ema_decay=0.9", "train.max_hours=1e-9"];
    assert_success(&place.train("run", &set));
    let folder = place.path("run/checkpoints");
    let mut files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let state = files.find(|path| path.to_string_lossy().contains("state-")).unwrap();
    let (tensors, text) = sib_core::checkpoint::read_tensors(&state).unwrap();
    for name in ["first.fc.weight", "second.conv1.weight", "average.layer1.0.bn1.running_var"] {
        let mut broken: BTreeMap<_, _> =
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        let spoiled = &tensors[name] + f64::NAN;
        broken.insert(name.to_owned(), spoiled);
        sib_core::checkpoint::write_tensors(&state, &broken, &text).unwrap();
        let output = place.run(&["train", "--resume", "run"]);
        assert_refused(&output, 1, &format!("values of {name:?} are NaN or infinite"));
        assert!(stderr(&output).contains("state-"), "{}", stderr(&output));
    }
}

#[test]
fn the_state_dict_that_was_taken_is_named() {
    let place = Workplace::with_checkpoint();
    changed(&place, "two.safetensors", |tensors, _| {
        let own = std::mem::take(tensors);
        for (name, tensor) in own {
            let other = if tensor.is_floating_point() { &tensor * 2 } else { tensor.copy() };
            tensors.insert(format!("student.{name}"), tensor);
            tensors.insert(format!("teacher.{name}"), other);
        }
    });
    let output = place.run(&import("two.safetensors", "a", &[]));
    assert_refused(
        &output,
        1,
        "more than one network that fits resnet18: [\"student\", \"teacher\"]",
    );
    assert!(
        stderr(&output).contains("two.safetensors --key NAME` settles it"),
        "{}",
        stderr(&output)
    );
    let output = place.run(&import("two.safetensors", "a", &["--key", "teacher"]));
    assert_success(&output);
    assert!(stderr(&output).contains("122 tensors loaded from \"teacher\""), "{}", stderr(&output));
    let [ours, theirs] =
        ["a", "net.safetensors"].map(|name| read_checkpoint(&place.path(name)).unwrap().0);
    assert!(ours["fc.weight"].equal(&(&theirs["fc.weight"] * 2)));
    let output = place.run(&import("two.safetensors", "b", &["--key", "nobody"]));
    assert_refused(&output, 1, "has no tensors under \"nobody\"");
}

#[test]
fn the_help_shows_one_default_each() {
    let output = Workplace::new().run(&["import", "--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    for flag in ["--mean", "--std", "--resize-px", "--crop-px"] {
        let text = help.split(&format!("{flag} <")).nth(1).expect(flag);
        let text = text.split("\n      --").next().unwrap();
        assert_eq!(text.matches("[default: ").count(), 1, "{flag}: {text}");
    }
}

#[test]
fn means_that_are_no_numbers_are_refused() {
    let place = Workplace::with_checkpoint();
    for (flag, value) in
        [("--mean", "nan,0,0"), ("--std", "inf,1,1"), ("--mean", "1,2"), ("--std", "0,1,1")]
    {
        let output = place.run(&import("net.safetensors", "a", &[flag, value]));
        assert_refused(&output, 2, flag.trim_start_matches('-'));
    }
}

/// Writes a grey image; returns its path from the workplace.
fn image(path: &Path) -> &'static str {
    let pixels = vec![128; 40 * 40 * 3];
    let buffer = image::RgbImage::from_raw(40, 40, pixels).unwrap();
    buffer.save(path).unwrap();
    "photo.png"
}
