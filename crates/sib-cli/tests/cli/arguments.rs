//! No argument, however wrong, ends in a panic: every flag of every command, as clap knows them, gets
//! values of the wrong kind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use clap::{Arg, ArgAction, CommandFactory};
use sib_cli::cli::Cli;

use crate::workplace::{Workplace, in_process};

/// What a flag gets: nothing, other alphabets, numbers out of range, no file, a folder, and files that
/// are not what their endings say.
fn wrong_values(place: &Workplace) -> Vec<String> {
    let mut values: Vec<String> =
        ["", " ", "-1", "0", "1e999", "NaN", "99999999999999999999", "ä€🦀", "a=b", "=", "a,,b"]
            .map(str::to_owned)
            .into();
    let folder = place.path("folder");
    std::fs::create_dir_all(&folder).unwrap();
    let inside = folder.join("x").display().to_string();
    values
        .extend([folder.display().to_string(), place.path("nowhere/at/all").display().to_string()]);
    for ending in ["toml", "safetensors", "pth", "png", "jpg", "csv", "md", "html", "txt"] {
        let file = place.path(&format!("garbage.{ending}"));
        std::fs::write(&file, b"\x00\xff\xfe not what it says \x80").unwrap();
        values.push(file.display().to_string());
    }
    // A file where a folder should be.
    values.push(format!("{inside}/../../garbage.txt/y"));
    values
}

/// Arguments that a command needs and that are right, by its name; folders of output are new.
fn right(place: &Workplace, command: &str) -> Vec<String> {
    let path = |name: &str| place.path(name).display().to_string();
    let words: Vec<String> = match command {
        "train" => vec!["--resume".into(), path("nowhere")],
        "predict" => {
            vec!["--checkpoint".into(), path("net.safetensors"), "--image".into(), path("i")]
        }
        "explain" => vec![
            "--checkpoint".into(),
            path("net.safetensors"),
            "--image".into(),
            path("i"),
            "--method".into(),
            "saliency".into(),
            "--output".into(),
            path("new-maps"),
        ],
        "evaluate" => vec![
            "--checkpoint".into(),
            path("net.safetensors"),
            "--data".into(),
            "synthetic".into(),
            "--suite".into(),
            "accuracy".into(),
            "--limit".into(),
            "2".into(),
            "--output".into(),
            path("new-evaluation"),
        ],
        "table" => vec!["2".into(), "--runs".into(), path("i"), "--output".into(), path("t.csv")],
        "figure" => vec!["5".into(), "--runs".into(), path("i"), "--output".into(), path("f.svg")],
        "report" => vec!["--runs".into(), path("i"), "--output".into(), path("r.html")],
        // A plan, since a step runs the program again, which here is the tests.
        "reproduce" => vec!["--dry-run".into(), "--configs".into(), path("i")],
        "import" => vec![
            path("net.safetensors"),
            "--arch".into(),
            "resnet18".into(),
            "--output".into(),
            path("new.safetensors"),
        ],
        "check" => vec!["--data".into(), "folder".into(), "--root".into(), path("i")],
        "export" => vec![
            "--data".into(),
            "synthetic".into(),
            "--limit".into(),
            "1".into(),
            "--output".into(),
            path("e"),
        ],
        "step" | "explain-bench" | "faithfulness" => {
            // Refused when all other arguments are right, before anything is timed.
            vec!["--inputs".into(), path("garbage.safetensors")]
        }
        "loader" => vec!["--data".into(), "folder".into(), "--root".into(), path("i")],
        _ => Vec::new(),
    };
    words
}

#[track_caller]
fn assert_no_panic(arguments: &[String]) {
    let result = catch_unwind(AssertUnwindSafe(|| in_process(arguments)));
    let message = match result {
        Ok(Ok(())) => return,
        Ok(Err(message)) => message,
        Err(_) => panic!("panic: sib-cli {}", arguments.join(" ")),
    };
    for code in ["panicked", "unwrap()", ".rs:", "Os {", "Exception raised from"] {
        assert!(!message.contains(code), "sib-cli {}: {message}", arguments.join(" "));
    }
    assert!(!message.trim().is_empty(), "sib-cli {}: says nothing", arguments.join(" "));
}

/// `arguments` with `value` for the flag, in place of the right one.
fn with(arguments: &[String], argument: &Arg, value: &str) -> Vec<String> {
    let mut words = arguments.to_vec();
    let Some(flag) = argument.get_long().map(|long| format!("--{long}")) else {
        if !words.is_empty() {
            words[0] = value.to_owned();
        }
        return words;
    };
    match words.iter().position(|word| *word == flag) {
        Some(at) => words[at + 1] = value.to_owned(),
        None => words.extend([flag, value.to_owned()]),
    }
    words
}

#[test]
fn no_value_of_any_flag_ends_in_a_panic() {
    let place = Workplace::with_checkpoint();
    let image = image::RgbImage::from_fn(40, 36, |x, y| image::Rgb([x as u8, y as u8, 9]));
    std::fs::create_dir_all(place.path("i")).unwrap();
    image.save(Path::new(&place.path("i/a.png"))).unwrap();
    let values = wrong_values(&place);
    // Some of them are good names of files and folders to write: not here. No other test goes by the
    // working folder of this process.
    let before = std::env::current_dir().unwrap();
    std::fs::create_dir(place.path("here")).unwrap();
    std::env::set_current_dir(place.path("here")).unwrap();
    let mut tried = 0;
    for command in Cli::command().get_subcommands() {
        let own = [command.clone()];
        let inner: Vec<_> = command.get_subcommands().cloned().collect();
        for leaf in if inner.is_empty() { &own[..] } else { &inner[..] } {
            let mut path = vec![command.get_name().to_owned()];
            if !inner.is_empty() {
                path.push(leaf.get_name().to_owned());
            }
            let key = match (command.get_name(), leaf.get_name()) {
                ("bench", "explain") => "explain-bench",
                (_, leaf) => leaf,
            };
            let right = right(&place, key);
            for argument in leaf.get_arguments() {
                if !matches!(argument.get_action(), ArgAction::Set | ArgAction::Append) {
                    continue;
                }
                for value in &values {
                    let arguments = [path.clone(), with(&right, argument, value)].concat();
                    assert_no_panic(&arguments);
                    tried += 1;
                }
                for made in ["new-maps", "new-evaluation", "e"] {
                    let _ = std::fs::remove_dir_all(place.path(made));
                }
                let _ = std::fs::remove_file(place.path("new.safetensors"));
            }
        }
    }
    std::env::set_current_dir(before).unwrap();
    // Some seventy flags; a new one comes in by itself.
    assert!(tried > 1200, "{tried}");
}
