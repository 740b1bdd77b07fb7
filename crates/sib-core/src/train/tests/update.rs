//! Updates: what they are made of, and what they leave alone.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::{Linear, images, labels};
use crate::Error;
use crate::objective::SibConfig;
use crate::testing::{relative_difference, test_device};
use crate::train::{
    Examples, Length, OptimizerConfig, OptimizerKind, Precision, Trainer, UpdateConfig,
};

fn config() -> UpdateConfig {
    let optimizer = OptimizerConfig { learning_rate: 0.1, ..OptimizerConfig::default() };
    UpdateConfig { optimizer, ..UpdateConfig::default() }
}

fn trainer_of<'a>(net: &'a Linear, config: &UpdateConfig) -> Trainer<'a> {
    let length = Length { epochs: 90, steps_per_epoch: 3 };
    Trainer::new(net, net.variables(), config.clone(), None, length).unwrap()
}

/// The weight of the average.
fn average(trainer: &Trainer<'_>) -> Tensor {
    trainer.state().tensors["average.weight"].copy()
}

/// The weight after three updates of `batches` batches each, together 8 images.
fn trained(config: &UpdateConfig, batches: i64) -> Tensor {
    let net = Linear::new();
    let mut trainer = trainer_of(&net, config);
    for _ in 0..3 {
        let size = 8 / batches;
        for batch in 0..batches {
            let part = |all: Tensor| all.narrow(0, batch * size, size);
            trainer.backward(&Examples::new(part(images(8)), part(labels(8)))).unwrap();
        }
        trainer.update().unwrap();
    }
    net.weight.detach()
}

#[test]
fn accumulated_batches_equal_one_large_batch() {
    for clip_norm in [None, Some(1e-3)] {
        let config = UpdateConfig { clip_norm, ..config() };
        let difference = relative_difference(&trained(&config, 4), &trained(&config, 1));
        assert!(difference < 1e-12, "{difference:e}");
    }
}

#[test]
fn one_hot_probabilities_equal_classes() {
    let net = Linear::new();
    let optimizer = OptimizerConfig { learning_rate: 1e-300, ..OptimizerConfig::default() };
    let still = UpdateConfig { optimizer, ..UpdateConfig::default() };
    let mut measured = Vec::new();
    for targets in [labels(8), labels(8).one_hot(5).to_kind(Kind::Double)] {
        let mut trainer = trainer_of(&net, &still);
        trainer.backward(&Examples::new(images(8), targets)).unwrap();
        measured.push(trainer.update().unwrap().read());
    }
    let loss = |i: usize| measured[i][0].1;
    assert!((loss(0) - loss(1)).abs() < 1e-14 && measured[0][1] == measured[1][1], "{measured:?}");
}

#[test]
fn clipping_keeps_the_direction_and_bounds_the_length() {
    let net = Linear::new();
    let gradient_descent = OptimizerConfig {
        kind: OptimizerKind::Sgd,
        learning_rate: 1.0,
        weight_decay: 0.0,
        ..OptimizerConfig::default()
    };
    let config = UpdateConfig {
        optimizer: gradient_descent,
        clip_norm: Some(1e-3),
        ..UpdateConfig::default()
    };
    let before = net.weight.detach().copy();
    let mut trainer = trainer_of(&net, &config);
    trainer.backward(&Examples::new(images(8), labels(8))).unwrap();
    let measured: BTreeMap<_, _> = trainer.update().unwrap().read().into_iter().collect();
    assert!(measured["gradient_norm"] > 1e-3);
    let moved = (net.weight.detach() - before).norm().double_value(&[]);
    assert!((moved / 1e-3 - 1.0).abs() < 1e-9, "{moved}");
}

#[test]
fn what_is_not_finite_stops_before_a_weight_changes() {
    let net = Linear::new();
    let before = net.weight.detach().copy();
    let mut trainer = trainer_of(&net, &config());
    let bad = images(8);
    let _ = bad.get(2).get(1).fill_(f64::INFINITY);
    let error = trainer.backward(&Examples::new(bad, labels(8))).unwrap_err();
    assert!(matches!(&error, Error::NonFinite { what } if what.contains("loss of step 0 (loss ")));
    assert_eq!(net.weight.detach(), before);
}

#[test]
fn a_restored_trainer_goes_on_bit_for_bit() {
    let config = UpdateConfig { ema_decay: Some(0.9), ..config() };
    let run = |stop: Option<u64>| {
        let net = Linear::new();
        let mut trainer = trainer_of(&net, &config);
        let mut saved = None;
        for step in 0..6 {
            if stop == Some(step) {
                saved = Some((trainer.state(), net.weight.detach().copy()));
                break;
            }
            trainer.backward(&Examples::new(images(8), labels(8))).unwrap();
            trainer.update().unwrap();
        }
        let Some((state, weight)) = saved else {
            return (net.weight.detach(), average(&trainer));
        };
        let net = Linear { weight: weight.set_requires_grad(true) };
        let mut trainer = trainer_of(&net, &config);
        trainer.restore(&state).unwrap();
        for _ in trainer.steps()..6 {
            trainer.backward(&Examples::new(images(8), labels(8))).unwrap();
            trainer.update().unwrap();
        }
        (net.weight.detach(), average(&trainer))
    };
    let through = run(None);
    assert_ne!(through.0, through.1, "the average lags behind");
    assert_eq!(run(Some(2)), through);
}

#[test]
fn a_state_that_is_not_finite_is_not_restored() {
    let config = UpdateConfig { ema_decay: Some(0.9), ..config() };
    let net = Linear::new();
    let mut trainer = trainer_of(&net, &config);
    trainer.backward(&Examples::new(images(8), labels(8))).unwrap();
    trainer.update().unwrap();
    for name in ["first.weight", "second.weight", "average.weight"] {
        for value in [f64::NAN, f64::INFINITY] {
            let mut state = trainer.state();
            let broken = state.tensors[name].copy();
            let _ = broken.get(4).get(1).fill_(value);
            state.tensors.insert(name.to_owned(), broken);
            let before = average(&trainer);
            let message = trainer.restore(&state).unwrap_err().to_string();
            assert!(
                message.contains(&format!("1 of 15 values of {name:?} are NaN or infinite")),
                "{message}"
            );
            assert_eq!(average(&trainer), before);
        }
    }
}

#[test]
fn the_average_is_in_place_for_as_long_as_it_is_looked_at() {
    let config = UpdateConfig { ema_decay: Some(0.9), ..config() };
    let net = Linear::new();
    let mut trainer = trainer_of(&net, &config);
    for _ in 0..2 {
        trainer.backward(&Examples::new(images(8), labels(8))).unwrap();
        trainer.update().unwrap();
    }
    let (weight, expected) = (net.weight.detach().copy(), average(&trainer));
    let seen = trainer.with_average(|_| net.weight.detach().copy());
    assert_eq!(seen, expected);
    assert_ne!(weight, expected);
    assert_eq!((net.weight.detach(), average(&trainer)), (weight, expected));
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let net = Linear::new();
    let length = Length { epochs: 1, steps_per_epoch: 1 };
    let refused = |config: UpdateConfig, sib, length, variables| {
        Trainer::new(&net, variables, config, sib, length).unwrap_err().to_string()
    };
    let optimizer = OptimizerConfig { learning_rate: 0.0, ..OptimizerConfig::default() };
    let still = UpdateConfig { optimizer, ..UpdateConfig::default() };
    let message = refused(still, None, length, net.variables());
    assert_eq!(message, "optimizer.learning_rate: got 0, expected a number above 0");
    if test_device() == Device::Cpu {
        let rounded = UpdateConfig { precision: Precision::Tf32, ..config() };
        let message = refused(rounded, None, length, net.variables());
        assert_eq!(message, "precision: got tf32, expected f32 or bf16: GPUs alone have tf32");
    }
    let never = SibConfig { every: 0, ..SibConfig::default() };
    assert!(refused(config(), Some(never), length, net.variables()).contains("every: got 0"));
    let none = Length { steps_per_epoch: 0, ..length };
    assert!(refused(config(), None, none, net.variables()).starts_with("steps_per_epoch: got 0"));
    let constant = BTreeMap::from([("weight".to_owned(), net.weight.detach())]);
    let message = refused(config(), None, length, constant);
    assert_eq!(message, "variables: got 1 without gradient, expected one to train");
}
