//! When training applies the two terms and with what weights, as `metrics.csv` shows it.

use std::collections::BTreeMap;

use crate::workplace::{Workplace, assert_success, read_csv};

/// What was logged of training, by step and name.
type Log = BTreeMap<u64, BTreeMap<String, f64>>;

/// Weights at which both terms are a good part of the loss.
const LAMBDA_BG: f64 = 3e5;
const LAMBDA_FG: f64 = 2.0;

/// Trains `tiny.toml` with these settings.
fn train(settings: &[&str]) -> Log {
    let place = Workplace::new();
    let lambdas = [format!("sib.lambda_bg={LAMBDA_BG}"), format!("sib.lambda_fg={LAMBDA_FG}")];
    let all: Vec<&str> =
        lambdas.iter().map(String::as_str).chain(settings.iter().copied()).collect();
    assert_success(&place.train("run", &all));
    let mut log = Log::new();
    for row in read_csv(&place.path("run/metrics.csv")) {
        if row["split"] == "train" {
            let of_step = log.entry(row["step"].parse().unwrap()).or_default();
            of_step.insert(row["name"].clone(), row["value"].parse().unwrap());
        }
    }
    log
}

/// Steps that the terms were applied in.
fn steps_with_terms(log: &Log) -> Vec<u64> {
    log.iter().filter(|(_, of)| of.contains_key("background")).map(|(step, _)| *step).collect()
}

/// The terms' share of the loss is `[λ_bg, λ_fg]` times the terms, times `every`.
#[track_caller]
fn assert_weighted(of: &BTreeMap<String, f64>, [bg, fg]: [f64; 2], every: f64) {
    let terms = [every * bg * of["background"], every * fg * of["foreground"]];
    for term in terms {
        // Or else its weight would not show in f32.
        assert!(term.abs() > 1e-3 * of["loss"], "{term} of {of:?}");
    }
    let expected = of["cross_entropy"] + terms[0] + terms[1];
    assert!((of["loss"] / expected - 1.0).abs() < 1e-6, "{expected}: {of:?}");
}

#[test]
fn every_second_step_counts_twice_from_the_first_epoch_that_has_terms() {
    let log = train(&["train.epochs=2", "sib.every=2", "sib.start_epoch=1"]);
    // Five steps an epoch: updates 5 to 9 are those of the second, the even ones have terms.
    assert_eq!(log.keys().copied().collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    assert_eq!(steps_with_terms(&log), [7, 9]);
    for step in [7, 9] {
        assert_weighted(&log[&step], [LAMBDA_BG, LAMBDA_FG], 2.0);
    }
    // Until then it is plain training.
    let plain = train(&["train.epochs=2", "sib.enabled=false"]);
    assert_eq!(steps_with_terms(&plain), [0; 0]);
    for step in 1..=6 {
        assert_eq!(log[&step], plain[&step], "step {step}");
    }
    assert_ne!(log[&8]["loss"], plain[&8]["loss"]);
}

/// The weights that give the terms shares `[background, foreground]` of cross-entropy's gradient norm,
/// as it was measured in this step.
fn by_share(of: &BTreeMap<String, f64>, share: [f64; 2]) -> [f64; 2] {
    let whole = of["gradient_norm_cross_entropy"];
    [
        share[0] * whole / of["gradient_norm_background"],
        share[1] * whole / of["gradient_norm_foreground"],
    ]
}

#[track_caller]
fn assert_lambdas(of: &BTreeMap<String, f64>, expected: [f64; 2]) {
    for (name, expected) in ["lambda_bg", "lambda_fg"].into_iter().zip(expected) {
        assert!((of[name] / expected - 1.0).abs() < 1e-12, "{name}: {}, {expected}", of[name]);
    }
}

#[test]
fn gradient_shares_are_those_asked_for_at_every_step() {
    let log = train(&[
        "train.epochs=1",
        "sib.weights=gradient-share",
        "sib.gradient_share.background=0.5",
        "sib.gradient_share.foreground=0.25",
        "sib.gradient_share.every_steps=1",
        "sib.gradient_share.momentum=0",
    ]);
    assert_eq!(steps_with_terms(&log), [1, 2, 3, 4, 5]);
    for of in log.values() {
        let lambdas = by_share(of, [0.5, 0.25]);
        assert_lambdas(of, lambdas);
        assert_weighted(of, lambdas, 1.0);
    }
}

#[test]
fn gradient_shares_are_averaged_between_measurements_and_weigh_more_when_applied_less() {
    let log = train(&[
        "train.epochs=2",
        "sib.every=2",
        "sib.weights=gradient-share",
        "sib.gradient_share.every_steps=2",
        "sib.gradient_share.momentum=0.75",
    ]);
    assert_eq!(steps_with_terms(&log), [1, 3, 5, 7, 9]);
    // Every second of them is measured.
    let measured = |of: &BTreeMap<String, f64>| of.contains_key("gradient_norm_background");
    let steps: Vec<u64> =
        log.iter().filter(|(_, of)| measured(of)).map(|(step, _)| *step).collect();
    assert_eq!(steps, [1, 5, 9]);
    let mut average: Option<[f64; 2]> = None;
    for step in [1, 3, 5, 7, 9] {
        let of = &log[&step];
        if measured(of) {
            let now = by_share(of, [0.1, 0.1]);
            average = Some(match average {
                None => now,
                Some(past) => std::array::from_fn(|i| 0.75 * past[i] + 0.25 * now[i]),
            });
        }
        assert_lambdas(of, average.unwrap());
        assert_weighted(of, average.unwrap(), 2.0);
    }
}
