//! No argument, however wrong, ends in a panic: every flag of every command, as clap knows them, gets
//! values of the wrong kind.

use std::panic::{AssertUnwindSafe, catch_unwind};

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command, CommandFactory};
use sib_cli::cli::Cli;

use crate::workplace::{Workplace, assert_success, in_process};

/// What a flag gets that does not name a path: nothing, other alphabets, numbers out of range, lists
/// and assignments with nothing in them.
const TEXTS: [&str; 11] =
    ["", " ", "-1", "0", "1e999", "NaN", "99999999999999999999", "ä€🦀", "a=b", "=", "a,,b"];

/// Endings of files that are not what these say.
const ENDINGS: [&str; 9] = ["toml", "safetensors", "pth", "png", "jpg", "csv", "md", "html", "txt"];

/// What the flag gets.
fn wrong_values(place: &Workplace, argument: &Arg) -> Vec<String> {
    let path = |name: &str| place.path(name).display().to_string();
    let is_path = argument.get_value_parser().type_id() == ValueParser::path_buf().type_id();
    if !is_path {
        return TEXTS.map(str::to_owned).into_iter().chain([path("folder")]).collect();
    }
    // No file, a folder, a file where a folder should be, and a name in another alphabet.
    let mut values = vec![
        String::new(),
        path("folder"),
        path("nowhere/at/all"),
        path("garbage.txt/y"),
        path("ä€🦀"),
    ];
    let names = argument.get_value_names().unwrap_or_default();
    let is_folder = names.iter().all(|name| ["DIR", "RUN"].contains(&name.as_str()));
    // A folder is never looked at by its ending.
    let endings = if is_folder { &ENDINGS[8..] } else { &ENDINGS[..] };
    values.extend(endings.iter().map(|ending| path(&format!("garbage.{ending}"))));
    values
}

/// Arguments that a command needs and that are right; folders of output are new. Several where no one
/// list can hold all flags.
fn right(place: &Workplace, command: &[&str]) -> Vec<Vec<String>> {
    let lists: &[&[&str]] = match command {
        // Refused before there is a folder, when all other arguments are right.
        ["train"] => &[
            &["--config", "@tiny.toml", "--set", "train.epochs=0", "--output", "@new"],
            &["--resume", "@nowhere"],
        ],
        ["predict"] => &[&["--checkpoint", "@net.safetensors", "--image", "@i"]],
        ["explain"] => &[&[
            "--checkpoint",
            "@net.safetensors",
            "--image",
            "@i",
            "--method",
            "saliency",
            "--output",
            "@new",
        ]],
        ["evaluate"] => &[&[
            "--checkpoint",
            "@net.safetensors",
            "--data",
            "synthetic",
            "--suite",
            "accuracy",
            "--limit",
            "2",
            "--output",
            "@new",
        ]],
        ["compare"] => &[&["--runs", "@i", "--output", "@t.csv"]],
        ["table"] => &[&["2", "--runs", "@i", "--output", "@t.csv"]],
        ["figure"] => &[&["5", "--runs", "@i", "--output", "@f.svg"]],
        ["report"] => &[&["--runs", "@i", "--output", "@r.html"]],
        // A plan, since a step runs the program again, which here is the tests.
        ["reproduce"] => &[&["--dry-run", "--configs", "@i"]],
        ["import"] => {
            &[&["@net.safetensors", "--arch", "resnet18", "--output", "@new.safetensors"]]
        }
        ["data", "check"] => &[&["--data", "folder", "--root", "@i"]],
        ["data", "export"] => &[&["--data", "synthetic", "--limit", "1", "--output", "@new"]],
        ["bench", "loader"] => &[&["--data", "folder", "--root", "@i"]],
        // Refused before anything is timed.
        ["bench", _] => &[&["--inputs", "@garbage.safetensors"]],
        _ => &[&[]],
    };
    let word = |word: &&str| match word.strip_prefix('@') {
        Some(name) => place.path(name).display().to_string(),
        None => (*word).to_owned(),
    };
    lists.iter().map(|list| list.iter().map(word).collect()).collect()
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

/// Tries every flag of the command with every value; how many that were.
fn try_all(place: &Workplace, path: &[&str], command: &Command) -> usize {
    let inner: Vec<&Command> = command.get_subcommands().collect();
    if !inner.is_empty() {
        return inner
            .iter()
            .map(|one| try_all(place, &[path, &[one.get_name()]].concat(), one))
            .sum();
    }
    let takes_value = |it: &&Arg| matches!(it.get_action(), ArgAction::Set | ArgAction::Append);
    let mut tried = 0;
    for right in right(place, path) {
        for argument in command.get_arguments().filter(takes_value) {
            for value in wrong_values(place, argument) {
                let words = path.iter().map(|&word| word.to_owned());
                assert_no_panic(&words.chain(with(&right, argument, &value)).collect::<Vec<_>>());
                tried += 1;
            }
            let _ = std::fs::remove_dir_all(place.path("new"));
            let _ = std::fs::remove_file(place.path("new.safetensors"));
        }
    }
    tried
}

/// Tries the commands whose names `is_meant`.
fn try_commands(is_meant: impl Fn(&str) -> bool) -> usize {
    // Many small pieces of work beside those of other tests.
    tch::set_num_threads(1);
    let place = Workplace::with_checkpoint();
    for folder in ["folder", "i"] {
        std::fs::create_dir(place.path(folder)).unwrap();
    }
    let image = image::RgbImage::from_fn(40, 36, |x, y| image::Rgb([x as u8, y as u8, 9]));
    image.save(place.path("i/a.png")).unwrap();
    for ending in ENDINGS {
        let file = place.path(&format!("garbage.{ending}"));
        std::fs::write(file, b"\x00\xff\xfe not what it says \x80").unwrap();
    }
    let cli = Cli::command();
    let commands = cli.get_subcommands().filter(|command| is_meant(command.get_name()));
    commands.map(|command| try_all(&place, &[command.get_name()], command)).sum()
}

/// Commands that take longer, which run beside each other.
const LONG: [&str; 3] = ["evaluate", "explain", "import"];

#[test]
fn no_value_of_a_flag_of_evaluate_ends_in_a_panic() {
    let tried = try_commands(|name| name == LONG[0]);
    assert!(tried > 200, "{tried}");
}

#[test]
fn no_value_of_a_flag_of_explain_ends_in_a_panic() {
    let tried = try_commands(|name| name == LONG[1]);
    assert!(tried > 150, "{tried}");
}

#[test]
fn no_value_of_a_flag_of_import_ends_in_a_panic() {
    let tried = try_commands(|name| name == LONG[2]);
    assert!(tried > 50, "{tried}");
}

/// A new command comes in by itself.
#[test]
fn no_value_of_a_flag_of_the_other_commands_ends_in_a_panic() {
    let tried = try_commands(|name| !LONG.contains(&name));
    assert!(tried > 600, "{tried}");
}

#[test]
fn shells_and_man_know_every_command() {
    let place = Workplace::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = place.run(&["completions", shell]);
        assert_success(&output);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(["train", "explain", "evaluate"].iter().all(|it| script.contains(it)), "{shell}");
    }
    assert_success(&place.run(&["man", "--output", "man"]));
    let page = std::fs::read_to_string(place.path("man/sib-cli-evaluate.1")).unwrap();
    assert!(page.contains("\\-\\-suite"), "{page}");
}
