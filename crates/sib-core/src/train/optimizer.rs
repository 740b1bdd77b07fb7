//! AdamW and SGD whose state can be saved; tch's own cannot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::{Error, Result, native};

/// Which update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101).
    #[default]
    #[serde(rename = "adamw")]
    AdamW,
    /// Stochastic gradient descent with momentum, PyTorch's form of it.
    Sgd,
}

/// Settings of the optimizer; the defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Which update rule.
    pub kind: OptimizerKind,
    /// Learning rate before the schedule; above 0.
    pub learning_rate: f64,
    /// Weight decay; at least 0.
    pub weight_decay: f64,
    /// Decay norm scales and biases (tensors of one dimension) too.
    pub decay_norms_and_biases: bool,
    /// Decay rates of Adam's two moments, in `[0, 1)`.
    pub betas: [f64; 2],
    /// Added to Adam's denominator; above 0.
    pub epsilon: f64,
    /// Momentum of SGD, in `[0, 1)`.
    pub momentum: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: OptimizerKind::AdamW,
            learning_rate: 1e-4,
            weight_decay: 1e-4,
            decay_norms_and_biases: true,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            momentum: 0.9,
        }
    }
}

impl OptimizerConfig {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(&self) -> Result<()> {
        let refuse =
            |key: &str, value: f64, expected: &str| Err(Error::invalid(key, value, expected));
        for (key, value) in [("learning_rate", self.learning_rate), ("epsilon", self.epsilon)] {
            if !(value > 0.0 && value.is_finite()) {
                return refuse(key, value, "a number above 0");
            }
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return refuse("weight_decay", self.weight_decay, "at least 0");
        }
        for (key, value) in
            [("betas", self.betas[0]), ("betas", self.betas[1]), ("momentum", self.momentum)]
        {
            if !(0.0..1.0).contains(&value) {
                return refuse(key, value, "a number in [0, 1)");
            }
        }
        Ok(())
    }
}

/// One parameter and what the update rule remembers of it.
#[derive(Debug)]
struct Slot {
    name: String,
    parameter: Tensor,
    decays: bool,
    /// Of the learning rate.
    factor: f64,
    /// First moment (AdamW) or momentum buffer (SGD).
    first: Tensor,
    /// Second moment; SGD has none.
    second: Option<Tensor>,
}

/// Updates a set of named parameters in place.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    slots: Vec<Slot>,
    steps: u64,
}

impl Optimizer {
    /// An optimizer of `parameters`, by state-dict key, with an empty past; `factor_of` a key is that of the
    /// learning rate.
    pub fn new(
        parameters: BTreeMap<String, Tensor>,
        config: OptimizerConfig,
        factor_of: impl Fn(&str) -> f64,
    ) -> Self {
        let slots = parameters
            .into_iter()
            .map(|(name, parameter)| {
                let first = parameter.zeros_like();
                let second = (config.kind == OptimizerKind::AdamW).then(|| parameter.zeros_like());
                let decays = config.decay_norms_and_biases || parameter.dim() > 1;
                let factor = factor_of(&name);
                Slot { name, parameter, decays, factor, first, second }
            })
            .collect();
        Self { config, slots, steps: 0 }
    }

    /// The parameters, in the order that [`Self::step`] expects gradients in.
    pub fn parameters(&self) -> Vec<&Tensor> {
        self.slots.iter().map(|slot| &slot.parameter).collect()
    }

    /// Where the parameters are; the CPU where there are none.
    pub fn device(&self) -> Device {
        self.slots.first().map_or(Device::Cpu, |slot| slot.parameter.device())
    }

    /// Number of updates made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One update with the learning rate times `schedule_factor`. A parameter whose gradient is
    /// undefined (nothing depends on it) stays as it is; all do where `held`, an f32 scalar on their device,
    /// is 1.
    pub fn step(&mut self, gradients: &[Tensor], schedule_factor: f64, held: Option<&Tensor>) {
        assert_eq!(gradients.len(), self.slots.len(), "one gradient a parameter");
        self.steps += 1;
        let learning_rate = self.config.learning_rate * schedule_factor;
        for Group { decays, factor, slots, gradients } in self.groups(gradients) {
            let learning_rate = learning_rate * factor;
            let weight_decay = if decays { self.config.weight_decay } else { 0.0 };
            let parameters: Vec<&Tensor> = slots.iter().map(|slot| &slot.parameter).collect();
            let first: Vec<&Tensor> = slots.iter().map(|slot| &slot.first).collect();
            let step = self.steps;
            let &OptimizerConfig { betas, momentum, epsilon, .. } = &self.config;
            let updated = match self.config.kind {
                OptimizerKind::AdamW => {
                    let second: Vec<&Tensor> =
                        slots.iter().filter_map(|slot| slot.second.as_ref()).collect();
                    let constants =
                        native::AdamW { step, learning_rate, betas, weight_decay, epsilon };
                    native::adamw([&parameters, &gradients, &first, &second], held, constants)
                }
                OptimizerKind::Sgd => {
                    let constants = native::Sgd { step, learning_rate, momentum, weight_decay };
                    native::sgd([&parameters, &gradients, &first], held, constants)
                }
            };
            updated.unwrap_or_else(|message| panic!("{:?}: {message}", self.config.kind));
        }
    }

    /// The parameters that have a gradient, by decay and factor: a group is updated in one pass over memory.
    fn groups<'s>(&'s self, gradients: &'s [Tensor]) -> Vec<Group<'s>> {
        let mut groups: Vec<Group<'s>> = Vec::new();
        let moving = self.slots.iter().zip(gradients).filter(|(_, gradient)| gradient.defined());
        for (slot, gradient) in moving {
            let &Slot { decays, factor, .. } = slot;
            let same = |group: &&mut Group<'_>| (group.decays, group.factor) == (decays, factor);
            match groups.iter_mut().find(same) {
                Some(group) => {
                    group.slots.push(slot);
                    group.gradients.push(gradient);
                }
                None => groups.push(Group {
                    decays,
                    factor,
                    slots: vec![slot],
                    gradients: vec![gradient],
                }),
            }
        }
        groups
    }

    /// Everything that must be saved for training to go on as if never stopped.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = BTreeMap::new();
        for slot in &self.slots {
            state.insert(format!("first.{}", slot.name), slot.first.shallow_clone());
            if let Some(second) = &slot.second {
                state.insert(format!("second.{}", slot.name), second.shallow_clone());
            }
        }
        state
    }

    /// Restores what [`Self::state`] gave after `steps` updates.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>, steps: u64) -> Result<()> {
        for slot in &mut self.slots {
            let restore = |key: &str, into: &mut Tensor| {
                let key = format!("{key}.{}", slot.name);
                match state.get(&key) {
                    Some(saved) if saved.size() == into.size() => {
                        tch::no_grad(|| into.copy_(saved));
                        Ok(())
                    }
                    Some(saved) => {
                        let expected = format!("{:?} for {key}", into.size());
                        Err(Error::shape("optimizer state", saved, expected))
                    }
                    None => Err(Error::invalid("optimizer state", "none", format!("tensor {key}"))),
                }
            };
            restore("first", &mut slot.first)?;
            if let Some(second) = &mut slot.second {
                restore("second", second)?;
            }
        }
        self.steps = steps;
        Ok(())
    }
}

/// Parameters that are updated together, and their gradients.
struct Group<'s> {
    decays: bool,
    factor: f64,
    slots: Vec<&'s Slot>,
    gradients: Vec<&'s Tensor>,
}

/// Those of `gradients` that something depends on.
pub(super) fn defined(gradients: &[Tensor]) -> Vec<&Tensor> {
    gradients.iter().filter(|gradient| gradient.defined()).collect()
}

/// Euclidean norm of all `gradients` together, an f64 scalar on their device; undefined ones count as zero.
pub(super) fn global_norm(gradients: &[Tensor]) -> Tensor {
    let gradients = defined(gradients);
    if gradients.is_empty() {
        return Tensor::from(0.0);
    }
    native::norm(&gradients).unwrap_or_else(|message| panic!("gradient norm: {message}"))
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::testing::{formula_tensor, golden_path, relative_difference};

    #[test]
    fn the_norm_of_gradients_whose_squares_are_nothing_in_f32() {
        let tiny = Tensor::full([100], 1e-25, (Kind::Float, tch::Device::Cpu));
        let norm = global_norm(&[tiny]).double_value(&[]);
        assert!((norm / 1e-24 - 1.0).abs() < 1e-6);
    }

    fn config(kind: OptimizerKind) -> OptimizerConfig {
        OptimizerConfig {
            kind,
            learning_rate: 0.05,
            weight_decay: 0.1,
            momentum: 0.8,
            ..OptimizerConfig::default()
        }
    }

    fn gradient(step: u64) -> Tensor {
        formula_tensor(&format!("gradient.{step}"), &[4, 5])
    }

    fn start(kind: OptimizerKind) -> (Tensor, Optimizer) {
        let parameter = formula_tensor("parameter", &[4, 5]);
        let named = BTreeMap::from([("w".to_owned(), parameter.shallow_clone())]);
        (parameter, Optimizer::new(named, config(kind), |_| 1.0))
    }

    #[test]
    fn five_steps_equal_pytorchs() {
        let golden: BTreeMap<String, Tensor> =
            Tensor::read_safetensors(golden_path("optimizer.safetensors"))
                .unwrap()
                .into_iter()
                .collect();
        for (kind, name) in [(OptimizerKind::AdamW, "adamw"), (OptimizerKind::Sgd, "sgd")] {
            let (parameter, mut optimizer) = start(kind);
            for step in 0..5 {
                optimizer.step(&[gradient(step)], 1.0, None);
            }
            // f64: only the order of operations differs.
            let difference = relative_difference(&parameter, &golden[name]);
            assert!(difference < 1e-13, "{name}: {difference:e}");
        }
    }

    #[test]
    fn a_restored_optimizer_goes_on_bit_for_bit() {
        for kind in [OptimizerKind::AdamW, OptimizerKind::Sgd] {
            let (through, mut uninterrupted) = start(kind);
            (0..6).for_each(|step| uninterrupted.step(&[gradient(step)], 0.5, None));

            let (parameter, mut first) = start(kind);
            (0..3).for_each(|step| first.step(&[gradient(step)], 0.5, None));
            let named = BTreeMap::from([("w".to_owned(), parameter.shallow_clone())]);
            let mut second = Optimizer::new(named, config(kind), |_| 1.0);
            second.restore(&first.state(), first.steps()).unwrap();
            (3..6).for_each(|step| second.step(&[gradient(step)], 0.5, None));
            assert_eq!(through, parameter, "{kind:?}");
        }
    }

    #[test]
    fn the_layout_of_parameter_and_gradient_does_not_matter() {
        let rule = |layout: [i64; 4], back: [i64; 4]| {
            let parameter = formula_tensor("parameter", &[2, 3, 4, 5]);
            let parameter = parameter.permute(layout).contiguous().permute(back);
            let named = BTreeMap::from([("w".to_owned(), parameter.shallow_clone())]);
            let mut optimizer = Optimizer::new(named, config(OptimizerKind::AdamW), |_| 1.0);
            (0..3).for_each(|_| optimizer.step(&[formula_tensor("g", &[2, 3, 4, 5])], 1.0, None));
            parameter
        };
        assert_eq!(rule([0, 2, 3, 1], [0, 3, 1, 2]), rule([0, 1, 2, 3], [0, 1, 2, 3]));
    }

    #[test]
    fn an_update_that_is_held_back_changes_nothing() {
        for kind in [OptimizerKind::AdamW, OptimizerKind::Sgd] {
            let (parameter, mut optimizer) = start(kind);
            optimizer.step(&[gradient(0)], 1.0, Some(&Tensor::from(0.0f32)));
            let before = parameter.copy();
            let state: Vec<Tensor> = optimizer.state().values().map(Tensor::copy).collect();
            assert_ne!(before, formula_tensor("parameter", &[4, 5]), "{kind:?}");
            let bad = gradient(1) * f64::NAN;
            optimizer.step(&[bad], 1.0, Some(&Tensor::from(1.0f32)));
            assert_eq!(parameter, before, "{kind:?}");
            assert!(optimizer.state().values().zip(&state).all(|(a, b)| a == b), "{kind:?}");
        }
    }

    #[test]
    fn decay_can_spare_norms_and_biases() {
        let bias = Tensor::from_slice(&[1.0f64, 2.0]);
        let named = BTreeMap::from([("bias".to_owned(), bias.shallow_clone())]);
        let spare = OptimizerConfig {
            decay_norms_and_biases: false,
            weight_decay: 0.5,
            ..OptimizerConfig::default()
        };
        Optimizer::new(named, spare, |_| 1.0).step(&[bias.zeros_like()], 1.0, None);
        assert_eq!(bias, Tensor::from_slice(&[1.0f64, 2.0]));
    }

    #[test]
    fn a_group_moves_as_by_an_optimizer_of_its_own_learning_rate() {
        for kind in [OptimizerKind::AdamW, OptimizerKind::Sgd] {
            let start = || ["body", "head"].map(|name| (name.to_owned(), gradient(7).copy()));
            let together: BTreeMap<String, Tensor> = start().into();
            let named = together.iter().map(|(name, it)| (name.clone(), it.shallow_clone()));
            let factor_of = |name: &str| if name == "head" { 10.0 } else { 1.0 };
            let mut both = Optimizer::new(named.collect(), config(kind), factor_of);
            (0..4).for_each(|step| both.step(&[gradient(step), gradient(step + 1)], 0.5, None));
            for (name, first, rate) in [("body", 0, 0.05), ("head", 1, 0.5)] {
                let alone: BTreeMap<String, Tensor> = start().into();
                let parameter = alone[name].shallow_clone();
                let named = BTreeMap::from([(name.to_owned(), parameter.shallow_clone())]);
                let config = OptimizerConfig { learning_rate: rate, ..config(kind) };
                let mut optimizer = Optimizer::new(named, config, |_| 1.0);
                (0..4).for_each(|step| optimizer.step(&[gradient(step + first)], 0.5, None));
                let difference = relative_difference(&together[name], &parameter);
                assert!(difference < 1e-15, "{kind:?} {name}: {difference:e}");
            }
        }
    }
}
