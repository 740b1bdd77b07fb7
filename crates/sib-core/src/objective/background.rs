//! The background term: variance of R outside the mask, an upper bound on the information that the
//! network takes from there (eqs. 14 and 16 of the paper).

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::group::Group;
use crate::{Error, Result, tensor::rows};

/// Over what the variance is taken (decision E1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variance {
    /// Over all C·H·W entries of an image, zeros included; then the mean over images (eq. 16).
    #[default]
    PerImage,
    /// Of each entry over the batch; then the mean over entries: `tr(Σ)/d` with Σ of eq. 14.
    Batch,
}

/// How the background term is computed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackgroundConfig {
    /// Over what the variance is taken.
    pub variance: Variance,
    /// Standard deviation σ of the reference noise of eq. 14: the variance is then multiplied by
    /// `κ = 1/(2σ² ln 2)`, which makes it bits. Unset: κ = 1.
    pub sigma: Option<f64>,
}

impl BackgroundConfig {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(&self) -> Result<()> {
        match self.sigma {
            Some(sigma) if !(sigma > 0.0 && sigma.is_finite()) => {
                Err(Error::invalid("sigma", sigma, "a number above 0"))
            }
            _ => Ok(()),
        }
    }

    /// L_bg of background maps `R ⊙ (1 − M)` `[B,C,H,W]`: a differentiable scalar.
    pub fn variance(&self, background: &Tensor) -> Tensor {
        self.of_rows(&rows(background))
    }

    /// L_bg of the batch of which `background` is this member's part of `group`: the same scalar with all members,
    /// whose gradients' mean is that of the whole.
    ///
    /// # Errors
    /// Where another member does not take part.
    pub(super) fn variance_of_group(&self, background: &Tensor, group: &Group) -> Result<Tensor> {
        let rows = rows(background);
        match self.variance {
            Variance::PerImage => group.mean(&self.of_rows(&rows)),
            Variance::Batch => Ok(group.of_all_rows(self.of_rows(&group.gathered(&rows)?))),
        }
    }

    fn of_rows(&self, rows: &Tensor) -> Tensor {
        let dim = match self.variance {
            Variance::PerImage => 1i64,
            Variance::Batch => 0,
        };
        let variance = rows.var_dim([dim].as_slice(), true, false).mean(None::<Kind>);
        match self.sigma {
            None => variance,
            Some(sigma) => variance / (2.0 * sigma * sigma * std::f64::consts::LN_2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::scalar;

    #[test]
    fn variances_by_hand() {
        // Images (1,3) and (2,6): per image 2 and 8; per entry 0.5 and 4.5.
        let maps = Tensor::from_slice(&[1.0, 3.0, 2.0, 6.0]).view([2, 1, 1, 2]);
        let value = |variance, sigma| scalar(&BackgroundConfig { variance, sigma }.variance(&maps));
        assert_eq!(value(Variance::PerImage, None), 5.0);
        assert_eq!(value(Variance::Batch, None), 2.5);
        let bits = value(Variance::PerImage, Some(2.0));
        assert!((bits - 5.0 / (8.0 * std::f64::consts::LN_2)).abs() < 1e-12);
    }
}
