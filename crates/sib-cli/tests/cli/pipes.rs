//! Output that nobody reads any more ends a command quietly.

use std::process::{Command, Output};

use crate::workplace::{Workplace, assert_success};

/// The command with its stdout closed before it begins.
fn unread(command: &mut Command) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    // Nothing but an error prints a stack trace, whatever is asked for.
    command.env("RUST_BACKTRACE", "1").stdout(writer).output().unwrap()
}

#[test]
fn a_closed_pipe_is_quiet_whatever_the_command() {
    let place = Workplace::with_checkpoint();
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
    let evaluate = [
        "evaluate",
        "--checkpoint",
        "net.safetensors",
        "--data",
        "synthetic",
        "--suite",
        "accuracy",
        "--limit",
        "4",
        "--output",
        "runs/evaluation",
    ];
    let commands: [&[&str]; 7] = [
        &["doctor"],
        &["data", "list"],
        &["data", "check", "--data", "synthetic"],
        &["predict", "--checkpoint", "net.safetensors", "--image", "images"],
        &evaluate,
        &["table", "2", "--runs", "runs", "--output", "table.csv"],
        &[
            "bench",
            "step",
            "--arch",
            "resnet18",
            "--size-px",
            "32",
            "--batch-size",
            "2",
            "--repeat",
            "1",
        ],
    ];
    for arguments in commands {
        let output = unread(&mut place.command(arguments));
        let stderr = String::from_utf8_lossy(&output.stderr);
        for noise in ["panicked", "stack backtrace", "error:", "Broken pipe"] {
            assert!(!stderr.contains(noise), "{arguments:?}: {stderr}");
        }
        assert!(output.status.success(), "{arguments:?}: {:?}", output.status);
    }
    // What was asked for besides the output was done.
    for file in ["runs/evaluation/summary.csv", "table.csv"] {
        assert!(place.path(file).is_file(), "{file}");
    }
}

#[test]
fn training_goes_on_where_nobody_reads_its_progress() {
    let place = Workplace::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let arguments =
        ["train", "--config", "tiny.toml", "--output", "run", "--set", "train.epochs=1"];
    let status = place.command(&arguments).stderr(writer).status().unwrap();
    assert!(status.success(), "{status:?}");
    assert!(place.path("run/status.toml").is_file());
}
