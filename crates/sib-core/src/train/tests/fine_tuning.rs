//! Training a part of a network, and parts of it at rates of their own.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::{images, labels};
use crate::objective::SibConfig;
use crate::testing::{formula_tensor, relative_difference};
use crate::train::{
    Examples, Length, OptimizerConfig, OptimizerKind, State, Trainer, UpdateConfig, freeze,
};
use crate::{Backbone, Mode, Probe};

/// A convolution, a smooth bend, the mean over the pixels and a linear layer: second derivatives are
/// everywhere.
#[derive(Debug)]
struct Smooth {
    body: Tensor,
    head: Tensor,
}

impl Smooth {
    fn new() -> Self {
        let weight = |name, shape: &[i64]| formula_tensor(name, shape).set_requires_grad(true);
        Self { body: weight("body", &[4, 3, 3, 3]), head: weight("head", &[5, 4]) }
    }

    fn variables(&self) -> BTreeMap<String, Tensor> {
        [("body.weight", &self.body), ("head.weight", &self.head)]
            .map(|(name, variable)| (name.to_owned(), variable.shallow_clone()))
            .into()
    }
}

impl Backbone for Smooth {
    fn forward_probed(&self, images: &Tensor, _: Mode, _: &mut dyn Probe) -> Tensor {
        let maps = images.conv2d(&self.body, None::<&Tensor>, 1, 1, 1, 1).tanh();
        let none = None::<&Tensor>;
        maps.mean_dim([2i64, 3].as_slice(), false, None::<Kind>).linear(&self.head, none)
    }
}

/// SGD as it stands in a textbook, with terms of S-IB that weigh as much as cross-entropy.
fn plain() -> (UpdateConfig, Option<SibConfig>) {
    let optimizer = OptimizerConfig {
        kind: OptimizerKind::Sgd,
        learning_rate: 0.1,
        weight_decay: 0.0,
        momentum: 0.0,
        ..OptimizerConfig::default()
    };
    let sib = SibConfig { lambda_bg: 1e3, lambda_fg: 10.0, ..SibConfig::default() };
    (UpdateConfig { optimizer, ..UpdateConfig::default() }, Some(sib))
}

const LENGTH: Length = Length { epochs: 90, steps_per_epoch: 10 };

/// A trainer of `net` but for what is `frozen`, which keeps an average.
fn trainer_of<'n>(net: &'n Smooth, frozen: &[&str], head_factor: Option<f64>) -> Trainer<'n> {
    let frozen: Vec<String> = frozen.iter().map(ToString::to_string).collect();
    freeze(&net.variables(), &frozen).unwrap();
    let (config, sib) = plain();
    let factors = head_factor.map(|factor| ("head".to_owned(), factor)).into_iter().collect();
    let config = UpdateConfig { learning_rate_factors: factors, ema_decay: Some(0.9), ..config };
    Trainer::new(net, net.variables(), config, sib, LENGTH).unwrap()
}

fn train(trainer: &mut Trainer<'_>, updates: usize) {
    for _ in 0..updates {
        trainer.backward(&Examples::new(images(8), labels(8))).unwrap();
        trainer.update().unwrap();
    }
}

/// What `updates` updates add to body and head, and the state after them.
fn moved(frozen: &[&str], head_factor: Option<f64>, updates: usize) -> ([Tensor; 2], State) {
    let net = Smooth::new();
    let [body, head] = [&net.body, &net.head].map(|weight| weight.detach().copy());
    let mut trainer = trainer_of(&net, frozen, head_factor);
    train(&mut trainer, updates);
    ([net.body.detach() - body, net.head.detach() - head], trainer.state())
}

#[test]
fn the_rest_of_a_network_learns_the_same_as_if_nothing_were_frozen() {
    let ([body, head], _) = moved(&[], None, 1);
    // R goes through the frozen layer as through any other.
    let ([_, alone], _) = moved(&["body"], None, 1);
    assert!(relative_difference(&alone, &head) < 1e-12);
    // The terms of S-IB have their part in it.
    let ([alone, _], _) = moved(&["head"], None, 1);
    assert!(relative_difference(&alone, &body) < 1e-12);
    let net = Smooth::new();
    let mut without = Trainer::new(&net, net.variables(), plain().0, None, LENGTH).unwrap();
    train(&mut without, 1);
    let plainly = net.body.detach() - formula_tensor("body", &[4, 3, 3, 3]);
    assert!(relative_difference(&plainly, &body) > 1e-3);
}

#[test]
fn what_is_frozen_stays_to_the_bit_and_leaves_no_state() {
    let ([body, head], state) = moved(&["body"], None, 5);
    assert_eq!(body, body.zeros_like());
    assert_ne!(head, head.zeros_like());
    let names: Vec<&str> = state.tensors.keys().map(String::as_str).collect();
    assert_eq!(names, ["average.body.weight", "average.head.weight", "first.head.weight"]);
    let average = &state.tensors["average.body.weight"];
    assert_eq!(*average, formula_tensor("body", &[4, 3, 3, 3]));
}

#[test]
fn the_head_learns_at_its_own_rate() {
    let ([body, head], _) = moved(&[], None, 1);
    let ([same, faster], _) = moved(&[], Some(10.0), 1);
    assert_eq!(same, body);
    assert!(relative_difference(&faster, &(head * 10.0)) < 1e-12);
}

#[test]
fn with_a_part_frozen_it_goes_on_bit_for_bit() {
    let through = Smooth::new();
    let mut uninterrupted = trainer_of(&through, &["body"], Some(10.0));
    train(&mut uninterrupted, 5);

    let first = Smooth::new();
    let mut stopped = trainer_of(&first, &["body"], Some(10.0));
    train(&mut stopped, 2);
    let second = Smooth { body: first.body.detach().copy(), head: first.head.detach().copy() };
    let [body, head] = [&second.body, &second.head].map(|weight| weight.set_requires_grad(true));
    assert!(body.requires_grad() && head.requires_grad());
    let mut resumed = trainer_of(&second, &["body"], Some(10.0));
    resumed.restore(&stopped.state()).unwrap();
    train(&mut resumed, 3);
    assert_eq!(second.head.detach(), through.head.detach());
    assert_eq!(resumed.state().tensors, uninterrupted.state().tensors);
}

#[test]
fn a_rate_of_nothing_that_is_trained_is_refused() {
    let refused = |prefix: &str, factor: f64| {
        let net = Smooth::new();
        freeze(&net.variables(), &["body".to_owned()]).unwrap();
        let factors = BTreeMap::from([(prefix.to_owned(), factor)]);
        let (config, sib) = plain();
        let config = UpdateConfig { learning_rate_factors: factors, ..config };
        Trainer::new(&net, net.variables(), config, sib, LENGTH).unwrap_err().to_string()
    };
    assert_eq!(refused("body", 2.0), "learning_rate_factors: got body, expected one of head");
    assert_eq!(refused("fc", 2.0), "learning_rate_factors: got fc, expected one of head");
    assert_eq!(
        refused("head", 0.0),
        "learning_rate_factors.head: got 0, expected a number above 0"
    );
}
