//! `bench`: a table of ratios alone, and in lockstep with another process, as
//! `scripts/bench_peers.py` drives it.

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
fn gradients_are_compared_with_those_of_f32() {
    let place = Workplace::new();
    place.formula_checkpoint(sib_models::Arch::ResNet18);
    let compared = |precision| {
        let what = ["bench", "gradients", "--checkpoint", "formula.safetensors", "--precision"];
        let images = ["--data", "synthetic", "--root", ".", "--batch-size", "4"];
        place.run(&[&what[..], &[precision], &images].concat())
    };
    let cosines = |precision| -> Vec<f64> {
        let output = compared(precision);
        assert_success(&output);
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("part,mask,cosine,length_ratio"));
        lines.map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect()
    };
    assert_eq!(cosines("f32"), [1.0; 10]);
    // R, L_ce, L_fg, L_bg and L with the mask differentiated, then constant.
    let rounded = cosines("bf16");
    assert!(rounded.iter().all(|cosine| *cosine < 1.0), "{rounded:?}");
    assert_refused(&compared("tf32"), 2, "expected f32 or bf16: GPUs alone have tf32");
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
