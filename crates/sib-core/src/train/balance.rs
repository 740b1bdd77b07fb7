//! Weights of the two terms from measured gradient norms (decision F4).

use std::collections::BTreeMap;

use crate::objective::{GradientShare, Lambdas};
use crate::{Error, Result};

/// Running averages of `‖∇L_ce‖ / ‖∇L‖` for both terms.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Balance {
    background: Option<f64>,
    foreground: Option<f64>,
}

impl Balance {
    /// Takes in one measurement of the three norms. A term without gradient keeps its ratio.
    pub(super) fn update(
        &mut self,
        momentum: f64,
        cross_entropy: f64,
        background: f64,
        foreground: f64,
    ) {
        for (ratio, norm) in
            [(&mut self.background, background), (&mut self.foreground, foreground)]
        {
            if norm > 0.0 && cross_entropy.is_finite() {
                let measured = cross_entropy / norm;
                *ratio = Some(match *ratio {
                    None => measured,
                    Some(average) => momentum * average + (1.0 - momentum) * measured,
                });
            }
        }
    }

    /// Whether a term that is to have a share has not been measured yet.
    pub(super) fn lacks_ratio(&self, share: &GradientShare) -> bool {
        (share.background > 0.0 && self.background.is_none())
            || (share.foreground > 0.0 && self.foreground.is_none())
    }

    /// The weights that give each term its share; 0 before a first measurement.
    pub(super) fn lambdas(&self, share: &GradientShare) -> Lambdas {
        Lambdas {
            background: share.background * self.background.unwrap_or(0.0),
            foreground: share.foreground * self.foreground.unwrap_or(0.0),
        }
    }

    /// Both ratios as text that parses back to the same bits.
    pub(super) fn state(&self) -> BTreeMap<String, String> {
        [("ratio_bg", self.background), ("ratio_fg", self.foreground)]
            .into_iter()
            .filter_map(|(key, ratio)| Some((key.to_owned(), ratio?.to_string())))
            .collect()
    }

    /// The inverse of [`Self::state`].
    pub(super) fn from_state(text: &BTreeMap<String, String>) -> Result<Self> {
        let ratio = |key: &str| {
            let Some(value) = text.get(key) else { return Ok(None) };
            match value.parse() {
                Ok(ratio) if f64::is_finite(ratio) => Ok(Some(ratio)),
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

    #[test]
    fn the_weights_give_each_term_its_share() {
        let share = GradientShare { background: 0.3, foreground: 0.1, ..GradientShare::default() };
        let mut balance = Balance::default();
        balance.update(0.9, 2.0, 0.5, 1e-3);
        let Lambdas { background, foreground } = balance.lambdas(&share);
        assert!((background * 0.5 / 2.0 - 0.3).abs() < 1e-12, "{background}");
        assert!((foreground * 1e-3 / 2.0 - 0.1).abs() < 1e-12, "{foreground}");
    }

    #[test]
    fn a_term_with_a_share_is_measured_until_it_has_a_gradient() {
        let both = GradientShare { background: 0.3, foreground: 0.1, ..GradientShare::default() };
        let one = GradientShare { foreground: 0.0, ..both };
        let mut balance = Balance::default();
        assert!(balance.lacks_ratio(&both));
        balance.update(0.9, 2.0, 0.5, 0.0);
        assert!(balance.lacks_ratio(&both) && !balance.lacks_ratio(&one));
    }

    #[test]
    fn state_round_trips_to_the_bit() {
        let mut balance = Balance::default();
        balance.update(0.9, 1.0 / 3.0, 0.7, 0.0);
        balance.update(0.9, 0.1, 0.3, 0.0);
        assert_eq!(Balance::from_state(&balance.state()).unwrap(), balance);
    }

    #[test]
    fn a_ratio_that_is_not_finite_is_refused() {
        for value in ["NaN", "inf", "two"] {
            let text = BTreeMap::from([("ratio_fg".to_owned(), value.to_owned())]);
            let message = Balance::from_state(&text).unwrap_err().to_string();
            assert!(message.contains("ratio_fg: got") && message.contains(value), "{message}");
        }
    }
}
