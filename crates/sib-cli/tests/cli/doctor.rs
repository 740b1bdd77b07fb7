//! `doctor`: what it prints, and that it insists on the device asked for.

use crate::workplace::{Workplace, assert_refused, assert_success};

/// What it prints, by the word in front.
fn lines(output: &std::process::Output) -> Vec<(String, String)> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let parts = text.lines().map(|line| line.split_at_checked(10).unwrap_or((line, "")));
    parts.map(|(name, value)| (name.trim().to_owned(), value.to_owned())).collect()
}

#[test]
fn it_says_what_there_is_to_compute_with() {
    let output = Workplace::new().run(&["doctor"]);
    assert_success(&output);
    let lines = lines(&output);
    let value = |name: &str| {
        let line = lines.iter().find(|(of, _)| of == name);
        line.unwrap_or_else(|| panic!("no {name} in {lines:?}")).1.as_str()
    };
    let names: Vec<&str> = lines.iter().map(|(name, _)| name.as_str()).collect();
    let always = ["sib-cli", "libtorch", "found in", "platform", "threads", "cuda"];
    assert_eq!(names[..6], always);
    assert_eq!(value("sib-cli"), env!("CARGO_PKG_VERSION"));
    assert!(value("libtorch").starts_with("2.13.0"), "{}", value("libtorch"));
    let folder = std::path::Path::new(value("found in"));
    assert!(folder.is_dir(), "{}", folder.display());
    let platform = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    assert_eq!(value("platform"), platform);
    // The workplace sets OMP_NUM_THREADS.
    assert!(value("threads").starts_with("1 of "), "{}", value("threads"));
    let cuda = value("cuda");
    match cuda.strip_prefix("none: ") {
        Some(reason) => assert!(!reason.is_empty() && names.len() == 6, "{lines:?}"),
        None => assert!(cuda.ends_with("device(s)") && names[6] == "cudnn", "{lines:?}"),
    }
}

#[test]
fn a_device_that_is_not_there_is_an_error_behind_the_lines() {
    let place = Workplace::new();
    let has_cuda = |output| {
        lines(output).iter().any(|(name, value)| name == "cuda" && !value.starts_with("none: "))
    };
    let output = place.run(&["doctor", "--device", "cuda"]);
    assert!(lines(&output).iter().any(|(name, _)| name == "libtorch"));
    if has_cuda(&output) {
        assert_success(&output);
    } else {
        assert_refused(&output, 2, "device cuda is not available: ");
    }
    assert_refused(
        &place.run(&["doctor", "--device", "cuda:99"]),
        2,
        "device cuda:99 is not avail",
    );
    assert_refused(&place.run(&["doctor", "--device", "tpu"]), 2, "tpu");
    assert_success(&place.run(&["doctor", "--device", "cpu"]));
}

/// Each GPU by what the driver's own tool says of it.
#[test]
fn graphics_cards_are_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Workplace::new();
    let tool = place.path("nvidia-smi");
    let answer =
        "0, NVIDIA H200, 143771 MiB, 580.159.03, 9.0\n1, Tesla V100, 16160 MiB, 580.159.03, 7.0";
    std::fs::write(&tool, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = place.command(&["doctor"]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", place.path("").display()));
    let output = command.output().unwrap();
    assert_success(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    for card in [
        "gpu       0: NVIDIA H200, 143771 MiB, driver 580.159.03, compute capability 9.0 (f32, tf32, bf16)",
        "gpu       1: Tesla V100, 16160 MiB, driver 580.159.03, compute capability 7.0 (f32)",
    ] {
        assert!(text.lines().any(|line| line == card), "{text}");
    }
}
