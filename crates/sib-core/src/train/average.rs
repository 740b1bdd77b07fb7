//! Exponential moving average of a network's variables.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::{Error, Result, native};

/// `average ← d·average + (1 − d)·variable` after each update, running statistics included, since an
/// average of weights does not fit the statistics of the last ones. Counters are copied.
///
/// The decay d grows with the number of updates t as `(1 + t)/(10 + t)` up to what is asked for, so
/// that the average forgets the initial weights.
#[derive(Debug)]
pub(super) struct WeightAverage {
    decay: f64,
    variables: BTreeMap<String, Tensor>,
    average: BTreeMap<String, Tensor>,
}

impl WeightAverage {
    /// An average of `variables` that begins with their present values; `decay` is in `[0, 1)`.
    pub(super) fn new(variables: BTreeMap<String, Tensor>, decay: f64) -> Self {
        let copy = |(name, variable): (&String, &Tensor)| (name.clone(), variable.detach().copy());
        let average = variables.iter().map(copy).collect();
        Self { decay, variables, average }
    }

    /// Takes in the variables after update number `step`, counted from 1.
    pub(super) fn update(&mut self, step: u64) {
        let step = step as f64;
        let decay = self.decay.min((1.0 + step) / (10.0 + step));
        let (mut averages, mut ends) = (Vec::new(), Vec::new());
        for (name, average) in &mut self.average {
            let variable = &self.variables[name];
            if average.is_floating_point() {
                averages.push(&*average);
                ends.push(variable);
            } else {
                tch::no_grad(|| average.copy_(variable));
            }
        }
        native::lerp(&averages, &ends, 1.0 - decay)
            .unwrap_or_else(|message| panic!("average of the weights: {message}"));
    }

    /// Puts the average in the place of the variables, and these back when what is returned is dropped:
    /// all to the bit.
    pub(super) fn in_place(&mut self) -> InPlace<'_> {
        self.exchange();
        InPlace(self)
    }

    fn exchange(&mut self) {
        tch::no_grad(|| {
            for (name, average) in &mut self.average {
                let mut variable = self.variables[name].shallow_clone();
                let held = variable.detach().copy();
                variable.copy_(average);
                average.copy_(&held);
            }
        });
    }

    /// The average by state-dict key.
    pub(super) fn state(&self) -> &BTreeMap<String, Tensor> {
        &self.average
    }

    /// Restores what [`Self::state`] gave, from `tensors` whose keys begin with `prefix`.
    pub(super) fn restore(
        &mut self,
        tensors: &BTreeMap<String, Tensor>,
        prefix: &str,
    ) -> Result<()> {
        for (name, average) in &mut self.average {
            let key = format!("{prefix}{name}");
            let saved = tensors
                .get(&key)
                .ok_or_else(|| Error::invalid("training state", "none", format!("tensor {key}")))?;
            tch::no_grad(|| average.f_copy_(saved))?;
        }
        Ok(())
    }
}

/// The variables hold the average as long as this lives.
pub(super) struct InPlace<'a>(&'a mut WeightAverage);

impl Drop for InPlace<'_> {
    fn drop(&mut self) {
        self.0.exchange();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_forgets_its_start_and_then_follows_the_decay() {
        let weight = Tensor::from_slice(&[1.0f64]);
        let counter = Tensor::from_slice(&[0i64]);
        let variables = BTreeMap::from([
            ("weight".to_owned(), weight.shallow_clone()),
            ("counter".to_owned(), counter.shallow_clone()),
        ]);
        let mut average = WeightAverage::new(variables, 0.5);
        let _ = weight.shallow_clone().fill_(2.0);
        let _ = counter.shallow_clone().fill_(7);
        average.update(1); // decay 2/11
        assert!((average.state()["weight"].double_value(&[0]) - (2.0 - 2.0 / 11.0)).abs() < 1e-15);
        assert_eq!(average.state()["counter"].int64_value(&[0]), 7);
        average.update(1_000_000); // decay 1/2
        assert!((average.state()["weight"].double_value(&[0]) - (2.0 - 1.0 / 11.0)).abs() < 1e-15);
    }
}
