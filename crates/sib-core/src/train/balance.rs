//! Weights of the two terms from measured gradient norms (decision F4).

use std::collections::BTreeMap;

use tch::{Device, Tensor};

use crate::objective::{GradientShare, Lambdas};
use crate::{Error, Result};

/// Running averages of `‖∇L_ce‖ / ‖∇L‖` for both terms.
#[derive(Debug, Default)]
pub(super) struct Balance {
    background: Ratio,
    foreground: Ratio,
}

/// A running average, on the device of what it is of.
#[derive(Debug, Default)]
struct Ratio {
    /// An f64 scalar, NaN until the term has had a gradient; none before the first measurement.
    average: Option<Tensor>,
    /// Whether the term has had one.
    is_known: bool,
}

impl Ratio {
    fn update(&mut self, momentum: f64, cross_entropy: &Tensor, norm: &Tensor) {
        let measured = cross_entropy / norm;
        let before = self.average.take().unwrap_or_else(|| measured.full_like(f64::NAN));
        let moved = &before * momentum + &measured * (1.0 - momentum);
        let after = measured.where_self(&before.isnan(), &moved);
        let is_usable = norm.gt(0.0).logical_and(&cross_entropy.isfinite());
        let average = after.where_self(&is_usable, &before);
        // Looked at until it is known once, so that nothing waits for it afterwards.
        self.is_known = self.is_known || !average.double_value(&[]).is_nan();
        self.average = Some(average);
    }

    /// 0 while it is not known.
    fn value(&self) -> Tensor {
        let average = self.average.as_ref().filter(|_| self.is_known);
        average.map_or_else(|| Tensor::from(0.0), Tensor::shallow_clone)
    }

    fn state(&self) -> Option<String> {
        self.is_known.then(|| self.value().double_value(&[]).to_string())
    }
}

impl Balance {
    /// Takes in one measurement of the three norms, f64 scalars. A term without gradient keeps its ratio.
    pub(super) fn update(
        &mut self,
        momentum: f64,
        cross_entropy: &Tensor,
        background: &Tensor,
        foreground: &Tensor,
    ) {
        self.background.update(momentum, cross_entropy, background);
        self.foreground.update(momentum, cross_entropy, foreground);
    }

    /// Whether a term that is to have a share has not been measured yet.
    pub(super) fn lacks_ratio(&self, share: &GradientShare) -> bool {
        (share.background > 0.0 && !self.background.is_known)
            || (share.foreground > 0.0 && !self.foreground.is_known)
    }

    /// The weights that give each term its share; 0 before a first measurement.
    pub(super) fn lambdas(&self, share: &GradientShare) -> Lambdas {
        Lambdas {
            background: self.background.value() * share.background,
            foreground: self.foreground.value() * share.foreground,
        }
    }

    /// Both ratios as text that parses back to the same bits.
    pub(super) fn state(&self) -> BTreeMap<String, String> {
        [("ratio_bg", &self.background), ("ratio_fg", &self.foreground)]
            .into_iter()
            .filter_map(|(key, ratio)| Some((key.to_owned(), ratio.state()?)))
            .collect()
    }

    /// The inverse of [`Self::state`], with numbers on `device`.
    pub(super) fn from_state(text: &BTreeMap<String, String>, device: Device) -> Result<Self> {
        let ratio = |key: &str| {
            let Some(value) = text.get(key) else { return Ok(Ratio::default()) };
            match value.parse::<f64>() {
                Ok(ratio) if ratio.is_finite() => {
                    let average = Some(Tensor::from(ratio).to_device(device));
                    Ok(Ratio { average, is_known: true })
                }
                _ => {
                    Err(Error::invalid(format!("training state, {key}"), value, "a finite number"))
                }
            }
        };
        Ok(Self { background: ratio("ratio_bg")?, foreground: ratio("ratio_fg")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(balance: &mut Balance, cross_entropy: f64, background: f64, foreground: f64) {
        let [a, b, c] = [cross_entropy, background, foreground].map(Tensor::from);
        balance.update(0.9, &a, &b, &c);
    }

    #[test]
    fn the_weights_give_each_term_its_share() {
        let share = GradientShare { background: 0.3, foreground: 0.1, ..GradientShare::default() };
        let mut balance = Balance::default();
        update(&mut balance, 2.0, 0.5, 1e-3);
        let Lambdas { background, foreground } = balance.lambdas(&share);
        let [background, foreground] = [background, foreground].map(|l| l.double_value(&[]));
        assert!((background * 0.5 / 2.0 - 0.3).abs() < 1e-12, "{background}");
        assert!((foreground * 1e-3 / 2.0 - 0.1).abs() < 1e-12, "{foreground}");
    }

    #[test]
    fn a_term_with_a_share_is_measured_until_it_has_a_gradient() {
        let both = GradientShare { background: 0.3, foreground: 0.1, ..GradientShare::default() };
        let one = GradientShare { foreground: 0.0, ..both };
        let mut balance = Balance::default();
        assert!(balance.lacks_ratio(&both));
        update(&mut balance, 2.0, 0.5, 0.0);
        assert!(balance.lacks_ratio(&both) && !balance.lacks_ratio(&one));
    }

    #[test]
    fn state_round_trips_to_the_bit() {
        let mut balance = Balance::default();
        update(&mut balance, 1.0 / 3.0, 0.7, 0.0);
        update(&mut balance, 0.1, 0.3, 0.0);
        let again = Balance::from_state(&balance.state(), Device::Cpu).unwrap();
        assert_eq!(again.state(), balance.state());
        assert_eq!(again.state().len(), 1);
    }

    #[test]
    fn a_ratio_that_is_not_finite_is_refused() {
        for value in ["NaN", "inf", "two"] {
            let text = BTreeMap::from([("ratio_fg".to_owned(), value.to_owned())]);
            let message = Balance::from_state(&text, Device::Cpu).unwrap_err().to_string();
            assert!(message.contains("ratio_fg: got") && message.contains(value), "{message}");
        }
    }
}
