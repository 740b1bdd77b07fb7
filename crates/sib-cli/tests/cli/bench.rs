//! `bench`: a table of ratios alone, and in lockstep with another process, as
//! `scripts/bench_peers.py` drives it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};

use crate::workplace::{Workplace, assert_refused, assert_success};

const SMALL: [&str; 4] = ["--size-px", "32", "--batch-size", "2"];

/// A benchmark in lockstep.
struct Lockstep {
    child: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Lockstep {
    fn start(place: &Workplace, what: &[&str]) -> Self {
        let mut command = place.command(&[&["bench"], what, &["--lockstep"]].concat());
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Has a variant run; the number by which it can be compared.
    fn run(&mut self, variant: &str) -> f64 {
        writeln!(self.input, "{variant}").unwrap();
        let line = self.line();
        let (seconds, value) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(seconds.parse::<f64>().unwrap() > 0.0, "{line}");
        value.parse().unwrap()
    }

    /// The last lines, after standard input has ended.
    fn end(self) -> (String, std::process::Output) {
        let Self { child, input, mut output } = self;
        drop(input);
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut output, &mut rest).unwrap();
        (rest, child.wait_with_output().unwrap())
    }
}

#[test]
fn in_lockstep_it_runs_what_it_is_told_to() {
    let place = Workplace::new();
    let mut steps = Lockstep::start(&place, &[&["step"], &SMALL[..]].concat());
    assert_eq!(steps.line(), "ready plain s-ib s-ib-checkpointed");
    let plain = steps.run("plain");
    let sib = steps.run("s-ib");
    // The same network, step and batch; a second step goes on from the first.
    assert_eq!(steps.run("s-ib-checkpointed"), sib);
    let second = steps.run("plain");
    assert!(plain.is_finite() && plain != sib && plain != second, "{plain} {sib} {second}");
    let (rest, output) = steps.end();
    assert_success(&output);
    if cfg!(target_os = "linux") {
        let peak = rest.trim().strip_prefix("peak_mib ").unwrap_or_else(|| panic!("{rest}"));
        assert!(peak.parse::<f64>().unwrap() > 100.0, "{rest}");
    }
}

#[test]
fn in_lockstep_an_unknown_variant_ends_it_with_those_that_are_known() {
    let place = Workplace::new();
    let what = ["explain", "--method", "saliency"];
    let mut steps = Lockstep::start(&place, &[&what, &SMALL[..]].concat());
    let ready = steps.line();
    let known = ready.strip_prefix("ready ").unwrap_or_else(|| panic!("{ready}")).to_owned();
    assert!(steps.run(&known).is_finite());
    writeln!(steps.input, "fast").unwrap();
    let (_, output) = steps.end();
    assert_refused(&output, 1, &format!("variant fast: expected one of {known}"));
}

#[test]
fn gradients_are_compared_with_the_exact_ones() {
    let place = Workplace::new();
    place.formula_checkpoint(sib_models::Arch::ResNet18);
    let compared = |arguments: &[&str]| {
        let what = ["bench", "gradients", "--checkpoint", "formula.safetensors"];
        let images = ["--data", "synthetic", "--root", ".", "--batch-size", "4", "--batches", "2"];
        place.run(&[&what[..], arguments, &images].concat())
    };
    // Mean cosine by way, term and part of the network.
    let cosines = |arguments: &[&str]| -> BTreeMap<[String; 3], f64> {
        let output = compared(arguments);
        assert_success(&output);
        let mut rows = csv::Reader::from_reader(&*output.stdout);
        assert_eq!(
            rows.headers().unwrap(),
            vec![
                "way",
                "of",
                "part",
                "batches",
                "cosine",
                "cosine_sd",
                "length_ratio",
                "mean_cosine"
            ]
        );
        rows.records()
            .map(|row| {
                let row = row.unwrap();
                ([0, 1, 2].map(|place| row[place].to_owned()), row[4].parse().unwrap())
            })
            .collect()
    };
    let key = |way: &str, of: &str, part: &str| [way, of, part].map(str::to_owned);
    let all = cosines(&["--candidate", "vjp.at=layer3", "--candidate", "every=2"]);
    // What is computed as before is the same; R at a feature map has another shape.
    for of in ["R", "L_ce", "L_fg", "L_bg"] {
        assert_eq!(all[&key("every=2", of, "all")], 1.0, "{of}");
    }
    assert!(!all.contains_key(&key("vjp.at=layer3", "R", "all")));
    assert_eq!(all[&key("vjp.at=layer3", "L_ce", "layer1")], 1.0);
    for part in ["all", "conv1", "layer2", "layer4"] {
        let cosine = all[&key("vjp.at=layer3", "L_bg", part)];
        assert!(cosine.abs() < 0.999, "{part}: {cosine}");
    }
    assert!(all[&key("other images", "L_ce", "all")] < 0.999);

    let rounded = cosines(&["--precision", "bf16"]);
    for of in ["R", "L_ce", "L_fg", "L_bg"] {
        let cosine = rounded[&key("bf16", of, "all")];
        assert!(cosine < 1.0, "{of}: {cosine}");
    }
    assert_refused(
        &compared(&["--precision", "tf32"]),
        2,
        "expected f32 or bf16: GPUs alone have tf32",
    );
    let averaged = compared(&["--candidate", "vjp.at=layer4"]);
    assert_refused(
        &averaged,
        2,
        "vjp.at: got layer4, expected an earlier feature map, or vjp.measure = \"contribution\": resnet18 averages",
    );
    assert_refused(&compared(&[]), 1, "nothing to compare: expected --candidate");
    assert_refused(
        &compared(&["--candidate", "vjp.at=layer5"]),
        2,
        "vjp.at: got layer5, expected image, layer1 to",
    );
    assert_refused(
        &compared(&["--candidate", "images=3"]),
        2,
        "images: got 3, expected a divisor of the 4 images",
    );
}

#[test]
fn cheaper_steps_are_timed_beside_the_exact_one() {
    let place = Workplace::new();
    let cheap = "vjp.at=layer3 every=2";
    let what = ["bench", "step", "--candidate", cheap, "--only", cheap, "--repeat", "1"];
    let output = place.run(&[&what[..], &SMALL].concat());
    assert_success(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().nth(1).unwrap().starts_with(&format!("{cheap},")), "{text}");
    let refused = place.run(&[&["bench", "step", "--only", "fast"], &SMALL[..]].concat());
    assert_refused(&refused, 1, "--only fast: expected one of plain, s-ib, s-ib-checkpointed");
}

#[test]
fn alone_it_prints_a_row_a_variant() {
    let place = Workplace::new();
    let what: [&[&str]; 3] = [
        &["faithfulness", "--step-px", "512"],
        &["explain", "--method", "grad-cam", "--output", "maps.safetensors"],
        &["step", "--only", "plain"],
    ];
    for what in what {
        let output = place.run(&[&["bench"], what, &SMALL, &["--repeat", "1"]].concat());
        assert_success(&output);
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "variant,seconds,ratio,ratio_q1,ratio_q3,repeats", "{text}");
        // The first variant is what the others are compared with.
        assert!(lines[1].ends_with(",1.000,1.000,1.000,1"), "{text}");
    }
    let (maps, _) = sib_core::checkpoint::read_tensors(&place.path("maps.safetensors")).unwrap();
    assert!(maps.values().any(|map| map.size() == [2, 32, 32]), "{maps:?}");
}
