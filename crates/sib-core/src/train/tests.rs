use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::*;
use crate::Probe;
use crate::testing::{formula_tensor, relative_difference};

/// Linear on the mean colour: no batch statistics, so that batches of an update are independent.
#[derive(Debug)]
struct Linear {
    weight: Tensor,
}

impl Linear {
    fn new() -> Self {
        Self { weight: formula_tensor("weight", &[5, 3]).set_requires_grad(true) }
    }

    fn variables(&self) -> BTreeMap<String, Tensor> {
        BTreeMap::from([("weight".to_owned(), self.weight.shallow_clone())])
    }
}

impl Backbone for Linear {
    fn forward_probed(&self, images: &Tensor, _: Mode, _: &mut dyn Probe) -> Tensor {
        let none = None::<&Tensor>;
        images.mean_dim([2i64, 3].as_slice(), false, None::<Kind>).linear(&self.weight, none)
    }
}

fn images(count: i64) -> Tensor {
    formula_tensor("images", &[count, 3, 4, 4])
}

fn labels(count: i64) -> Tensor {
    Tensor::arange(count, (Kind::Int64, Device::Cpu)).remainder(5)
}

fn config() -> TrainConfig {
    let optimizer = OptimizerConfig { learning_rate: 0.1, ..OptimizerConfig::default() };
    TrainConfig { optimizer, ..TrainConfig::default() }
}

/// The weight after three updates of `batches` batches each, together 8 images.
fn trained(config: &TrainConfig, batches: i64) -> Tensor {
    let net = Linear::new();
    let mut trainer = Trainer::new(&net, net.variables(), config.clone(), None, 3);
    for _ in 0..3 {
        let size = 8 / batches;
        for batch in 0..batches {
            let part = |all: Tensor| all.narrow(0, batch * size, size);
            trainer.backward(&part(images(8)), &part(labels(8))).unwrap();
        }
        trainer.update().unwrap();
    }
    net.weight.detach()
}

#[test]
fn accumulated_batches_equal_one_large_batch() {
    for clip_norm in [None, Some(1e-3)] {
        let config = TrainConfig { clip_norm, ..config() };
        let difference = relative_difference(&trained(&config, 4), &trained(&config, 1));
        assert!(difference < 1e-12, "{difference:e}");
    }
}

#[test]
fn one_hot_probabilities_equal_classes() {
    let net = Linear::new();
    let mut measured = Vec::new();
    for targets in [labels(8), labels(8).one_hot(5).to_kind(Kind::Double)] {
        let mut trainer = Trainer::new(&net, net.variables(), config(), None, 3);
        trainer.backward(&images(8), &targets).unwrap();
        measured.push(trainer.pending.measured[..2].to_vec());
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
    let config = TrainConfig {
        optimizer: gradient_descent,
        clip_norm: Some(1e-3),
        ..TrainConfig::default()
    };
    let before = net.weight.detach().copy();
    let mut trainer = Trainer::new(&net, net.variables(), config, None, 3);
    trainer.backward(&images(8), &labels(8)).unwrap();
    let measured: BTreeMap<_, _> = trainer.update().unwrap().into_iter().collect();
    assert!(measured["gradient_norm"] > 1e-3);
    let moved = (net.weight.detach() - before).norm().double_value(&[]);
    assert!((moved / 1e-3 - 1.0).abs() < 1e-9, "{moved}");
}

#[test]
fn what_is_not_finite_stops_before_a_weight_changes() {
    let net = Linear::new();
    let before = net.weight.detach().copy();
    let mut trainer = Trainer::new(&net, net.variables(), config(), None, 3);
    let bad = images(8);
    let _ = bad.get(2).get(1).fill_(f64::INFINITY);
    let error = trainer.backward(&bad, &labels(8)).unwrap_err();
    assert!(matches!(&error, Error::NonFinite { what } if what.contains("loss of step 0 (loss ")));
    assert_eq!(net.weight.detach(), before);
}

#[test]
fn a_restored_trainer_goes_on_bit_for_bit() {
    let config = TrainConfig { ema_decay: Some(0.9), ..config() };
    let run = |stop: Option<u64>| {
        let net = Linear::new();
        let mut trainer = Trainer::new(&net, net.variables(), config.clone(), None, 3);
        let mut saved = None;
        for step in 0..6 {
            if stop == Some(step) {
                saved = Some((trainer.state(), net.weight.detach().copy()));
                break;
            }
            trainer.backward(&images(8), &labels(8)).unwrap();
            trainer.update().unwrap();
        }
        let Some(((tensors, text), weight)) = saved else {
            return (net.weight.detach(), trainer.average().unwrap()["weight"].copy());
        };
        let net = Linear { weight: weight.set_requires_grad(true) };
        let mut trainer = Trainer::new(&net, net.variables(), config.clone(), None, 3);
        trainer.restore(&tensors, &text).unwrap();
        for _ in trainer.steps()..6 {
            trainer.backward(&images(8), &labels(8)).unwrap();
            trainer.update().unwrap();
        }
        (net.weight.detach(), trainer.average().unwrap()["weight"].copy())
    };
    let through = run(None);
    assert_ne!(through.0, through.1, "the average lags behind");
    assert_eq!(run(Some(2)), through);
}

#[test]
fn a_state_that_is_not_finite_is_not_restored() {
    let config = TrainConfig { ema_decay: Some(0.9), ..config() };
    let net = Linear::new();
    let mut trainer = Trainer::new(&net, net.variables(), config, None, 3);
    trainer.backward(&images(8), &labels(8)).unwrap();
    trainer.update().unwrap();
    for name in ["first.weight", "second.weight", "average.weight"] {
        for value in [f64::NAN, f64::INFINITY] {
            let (mut tensors, text) = trainer.state();
            let broken = tensors[name].copy();
            let _ = broken.get(4).get(1).fill_(value);
            tensors.insert(name.to_owned(), broken);
            let before = trainer.average().unwrap()["weight"].copy();
            let message = trainer.restore(&tensors, &text).unwrap_err().to_string();
            assert!(
                message.contains(&format!("1 of 15 values of {name:?} are NaN or infinite")),
                "{message}"
            );
            assert_eq!(trainer.average().unwrap()["weight"], before);
        }
    }
}
