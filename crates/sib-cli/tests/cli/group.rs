//! Several processes of `train`: the run of one, what they cannot share, and what becomes of a run that loses one.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::workplace::{
    Workplace, assert_refused, assert_success, read, read_csv, stderr, train_arguments,
};

fn two(run: &str, settings: &[&str]) -> Vec<String> {
    let mut arguments: Vec<String> =
        train_arguments(run, settings).into_iter().map(str::to_owned).collect();
    arguments.extend(["--processes".to_owned(), "2".to_owned()]);
    arguments
}

fn run(place: &Workplace, arguments: &[String]) -> Output {
    place.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Process `rank` of 2, as another program starts it.
fn member(place: &Workplace, port: u16, rank: usize, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command.args(["--timeout-seconds", "5"]).env("RAYON_NUM_THREADS", "1");
    command.envs([("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1")]);
    command.env("RANK", rank.to_string()).env("MASTER_PORT", port.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What became of both, and both their errors.
fn ends(members: [Child; 2]) -> ([Option<i32>; 2], String) {
    let outputs = members.map(|member| member.wait_with_output().unwrap());
    let said = outputs.iter().map(stderr).collect();
    (outputs.map(|output| output.status.code()), said)
}

#[track_caller]
fn wait_for(file: &Path) {
    let started = Instant::now();
    while !file.exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "{} does not come", file.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[track_caller]
fn assert_one_error(said: &str, expected: &str) {
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    assert!(errors[0].contains(expected), "expected {expected:?} in {said}");
}

#[test]
fn two_processes_make_the_run_of_one() {
    let place = Workplace::new();
    let settings = [
        "train.epochs=1",
        "train.log_information=true",
        "data.augment=true",
        "data.mix.mixup.alpha=0.2",
    ];
    assert_success(&place.train("one", &settings));
    let output = run(&place, &two("two", &settings));
    assert_success(&output);
    // Said once.
    assert_eq!(stderr(&output).matches("no validation split").count(), 1, "{}", stderr(&output));
    let rows = ["one", "two"].map(|run| read_csv(&place.path(run).join("metrics.csv")));
    assert_eq!(rows[0].len(), rows[1].len());
    for (one, two) in rows[0].iter().zip(&rows[1]) {
        for column in ["step", "epoch", "split", "name"] {
            assert_eq!(one[column], two[column]);
        }
        let [one_value, two_value] = [one, two].map(|row| row["value"].parse::<f64>().unwrap());
        // In f32 the runs part by and by, since the mask's quantiles rest on single pixels.
        if one["step"] == "1" {
            let difference = (one_value - two_value).abs() / one_value.abs();
            assert!(difference < 1e-4, "{}: {one_value} and {two_value}", one["name"]);
        }
    }
}

#[test]
fn a_run_that_loses_a_process_goes_on_to_the_same_bytes() {
    let place = Workplace::new();
    assert_success(&run(&place, &two("whole", &[])));
    // The second checkpoint's state is there, its weights are not.
    let mut lost: Vec<String> = two("lost", &[]);
    lost.extend(["--timeout-seconds", "5"].map(str::to_owned));
    let arguments: Vec<&str> = lost.iter().map(String::as_str).collect();
    let output = place.command(&arguments).env("SIB_FAILPOINT", "state:2").output().unwrap();
    assert_refused(&output, 1, "rank 0 was ended by signal 6");
    let output = place.run(&["train", "--resume", "lost", "--processes", "2"]);
    assert_success(&output);
    for file in ["metrics.csv", "config.toml", "checkpoints/last.safetensors"] {
        let [whole, lost] = ["whole", "lost"].map(|run| read(&place.path(run).join(file)));
        assert!(whole == lost, "{file}");
    }
}

#[test]
fn a_process_that_dies_ends_the_others_with_one_error() {
    let place = Workplace::new();
    let (port, arguments) = (free_port(), train_arguments("run", &["train.epochs=200"]));
    let mut members = [0, 1].map(|rank| member(&place, port, rank, &arguments).spawn().unwrap());
    wait_for(&place.path("run/checkpoints/last.safetensors"));
    members[1].kill().unwrap();
    let (codes, said) = ends(members);
    assert_eq!(codes, [Some(1), None]);
    assert_one_error(&said, "rank 0 of 2 has lost another");
    // In one process from there.
    let resumed = ["train", "--resume", "run", "--set", "train.max_hours=1e-9"];
    let output = place.run(&resumed);
    assert_success(&output);
    assert!(stderr(&output).contains("going on after step"), "{}", stderr(&output));
}

#[test]
fn a_process_that_is_told_to_saves_and_ends_with_the_others() {
    let place = Workplace::new();
    let arguments = train_arguments("run", &["train.epochs=200"]);
    let port = free_port();
    let members = [0, 1].map(|rank| member(&place, port, rank, &arguments).spawn().unwrap());
    wait_for(&place.path("run/checkpoints/last.safetensors"));
    let id = members[1].id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let (codes, said) = ends(members);
    assert_eq!(codes, [Some(0); 2], "{said}");
    assert!(said.contains("told to end after step"), "{said}");
    assert!(said.contains("hint: sib-cli train --resume run"), "{said}");
}

#[test]
fn ctrl_c_saves_and_lets_nothing_follow() {
    for processes in [&[][..], &["--processes", "2"]] {
        let place = Workplace::new();
        let mut command = place.command(&train_arguments("run", &["train.epochs=200"]));
        // As a terminal does, which tells all of them.
        command.args(processes).process_group(0);
        let run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&place.path("run/checkpoints/last.safetensors"));
        let group = format!("-{}", run.id());
        let told = Command::new("kill").args(["-INT", "--", &group]).status().unwrap();
        assert!(told.success());
        let output = run.wait_with_output().unwrap();
        let said = stderr(&output);
        // As of a program that the signal has ended: `a && b` does not go on to b.
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert_eq!(said.matches("told to end after step").count(), 1, "{said}");
        assert!(!said.contains("error:"), "{said}");
        let resumed = place.run(&["train", "--resume", "run", "--set", "train.max_hours=1e-9"]);
        assert_success(&resumed);
        assert!(stderr(&resumed).contains("going on after step"), "{}", stderr(&resumed));
    }
}

#[test]
fn what_processes_do_not_share_is_named() {
    let place = Workplace::new();
    let output = run(&place, &two("run", &["train.batch_size=9"]));
    assert_refused(&output, 2, "train.batch_size: got 9, expected a multiple of the 2 processes");

    let output = run(&place, &two("run", &["train.nonsense=1"]));
    assert_refused(&output, 2, "train.nonsense");

    let port = free_port();
    let members = ["0.1", "0.2"].map(|rate| format!("train.optimizer.learning_rate={rate}"));
    let start = |rank: usize| {
        let arguments = train_arguments("run", &[&members[rank]]);
        member(&place, port, rank, &arguments).spawn().unwrap()
    };
    let (codes, said) = ends([start(0), start(1)]);
    assert_eq!(codes, [Some(1); 2], "{said}");
    let differs = "train.optimizer.learning_rate is \"0.1\" for rank 0, \"0.2\" for rank 1";
    assert_one_error(&said, differs);
    assert!(!place.path("run").exists());
}

#[test]
fn processes_that_do_not_find_each_other_say_so_in_time() {
    let place = Workplace::new();
    let arguments = train_arguments("run", &[]);
    let output = member(&place, free_port(), 0, &arguments).output().unwrap();
    assert_refused(&output, 1, "cannot meet at 127.0.0.1:");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = member(&place, port, 0, &arguments).output().unwrap();
    assert_refused(&output, 1, "address already in use");

    let mut command = member(&place, port, 0, &arguments);
    assert_refused(&command.env_remove("RANK").output().unwrap(), 2, "RANK: got nothing");
    let mut command = place.command(&["data", "list"]);
    let output = command.envs([("WORLD_SIZE", "2"), ("RANK", "0"), ("MASTER_ADDR", "x")]).output();
    assert_refused(&output.unwrap(), 2, "got 2 processes of this command, expected one");
    assert!(!place.path("run").exists());
}

#[test]
fn an_update_that_diverges_names_the_images_of_all_processes_once() {
    let place = Workplace::new();
    let settings = ["train.optimizer.kind=sgd", "train.optimizer.learning_rate=1e20"];
    let output = run(&place, &two("run", &settings));
    assert_refused(&output, 1, "is not finite");
    let failure = String::from_utf8(read(&place.path("run/failure.toml"))).unwrap();
    assert_eq!(failure.matches("train/").count(), 8, "{failure}");
}

#[test]
fn an_evaluation_of_two_processes_has_the_bytes_of_one() {
    let place = Workplace::with_checkpoint();
    let evaluate = |output: &'static str, more: &[&'static str]| {
        let base = ["evaluate", "--checkpoint", "net.safetensors", "--data", "synthetic"];
        let rest = ["--suite", "all", "--limit", "6", "--batch-size", "2", "--output", output];
        [&base[..], &rest, more].concat()
    };
    assert_success(&place.run(&evaluate("one", &[])));
    let output = place.run(&evaluate("two", &["--processes", "2"]));
    assert_success(&output);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.matches("top1").count(), 1, "{printed}");
    // Cut short in the middle of a round, gone on with by one, and the other way round.
    place.killed_at("rows:2", &evaluate("cut", &[]));
    assert_success(&place.run(&evaluate("cut", &["--processes", "2"])));
    for entry in std::fs::read_dir(place.path("one")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".csv") {
            let [one, two, cut] =
                ["one", "two", "cut"].map(|folder| read(&place.path(folder).join(&name)));
            assert!(one == two && one == cut, "{name}");
        }
    }
}

#[test]
fn heatmaps_and_predictions_of_two_processes_are_those_of_one() {
    let place = Workplace::with_checkpoint();
    let export = ["data", "export", "--data", "synthetic", "--limit", "20", "--output", "images"];
    assert_success(&place.run(&export));
    std::fs::write(place.path("images/broken.png"), "no image").unwrap();
    let of = |command: &'static str, more: &[&'static str]| {
        let base = [command, "--checkpoint", "net.safetensors", "--image", "images"];
        [&base[..], more].concat()
    };
    let methods = [
        "--method",
        "saliency,integrated-gradients",
        "--set",
        "integrated-gradients.steps=2",
        "--compare",
        "net.safetensors",
    ];
    let explain = |output: &'static str, more: &[&'static str]| {
        of("explain", &[&methods[..], &["--output", output], more].concat())
    };
    for (folder, more) in [("one", &[][..]), ("two", &["--processes", "2"])] {
        let output = place.run(&explain(folder, more));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.matches("broken.png").count(), 1, "{said}");
        assert!(said.contains("error: 1 of 21 images could not be read"), "{said}");
    }
    let mut names: Vec<_> = std::fs::read_dir(place.path("one")).unwrap().collect();
    names.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    assert!(names.len() > 20 * 2 * 5);
    for entry in names {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // These say how long it took, and on what.
        if !["manifest.csv", "explanation.toml"].contains(&name.as_str()) {
            let [one, two] = ["one", "two"].map(|folder| read(&place.path(folder).join(&name)));
            assert!(one == two, "{name}");
        }
    }
    let rows = ["one", "two"].map(|folder| {
        let mut rows = read_csv(&place.path(folder).join("manifest.csv"));
        rows.iter_mut().for_each(|row| drop(row.remove("seconds")));
        rows
    });
    assert_eq!(rows[0], rows[1]);

    let one = place.run(&of("predict", &[]));
    let two = place.run(&of("predict", &["--processes", "2"]));
    assert_eq!(one.stdout, two.stdout);
    assert_eq!([one.status.code(), two.status.code()], [Some(1); 2]);
}
