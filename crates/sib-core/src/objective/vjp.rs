//! The vector-Jacobian product of the posterior, R = Jᵀp (Table 1 of the paper).

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{Error, Result, tensor::rows};

/// Whose gradient with respect to the image R is (decision B1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scalar {
    /// `½‖p‖²`: since the vector p depends on the image too, its gradient is exactly `Jᵀp`, and
    /// derivatives of R with respect to the weights include those through the vector.
    #[default]
    Posterior,
    /// `p̄·p` with p̄ held constant: the same R, but no derivative through the vector.
    PosteriorDetached,
    /// `p̄·z` with p̄ held constant: the Jacobian of the logits in place of the posterior's.
    Logits,
}

/// Whether R is rescaled before the mask and the losses (decision B2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// R as it is: the background term scales with ‖R‖².
    #[default]
    None,
    /// Each image's R divided by its root mean square: the background term becomes scale-free.
    Rms,
}

/// How R is computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VjpConfig {
    /// Whose gradient R is.
    pub scalar: Scalar,
    /// Rescaling of each image's R.
    pub normalise: Normalise,
    /// Softmax temperature τ of `p = softmax(z/τ)`, above 0.
    pub temperature: f64,
}

impl Default for VjpConfig {
    fn default() -> Self {
        Self { scalar: Scalar::Posterior, normalise: Normalise::None, temperature: 1.0 }
    }
}

impl VjpConfig {
    /// Checks the settings' ranges; `prefix` names the table they stand in.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(&self, prefix: &str) -> Result<()> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            let key = format!("{prefix}.temperature");
            return Err(Error::invalid(key, self.temperature, "a number above 0"));
        }
        Ok(())
    }

    /// `p = softmax(z/τ)`, f64 `[B,K]`: where the network is sure, R has the direction of differences
    /// between numbers close to 1, which f32 loses.
    pub fn posterior(&self, logits: &Tensor) -> Tensor {
        (logits.to_kind(Kind::Double) / self.temperature).softmax(-1, None::<Kind>)
    }

    /// R `[B,3,H,W]` from `images` `[B,3,H,W]` that require a gradient and their `logits` `[B,K]`.
    ///
    /// One backward pass for the whole batch; the graph of the forward pass is kept. With
    /// `create_graph`, R can be differentiated with respect to the weights.
    ///
    /// # Errors
    /// When the images do not require a gradient or libtorch lacks a (second) derivative.
    pub fn vjp(&self, images: &Tensor, logits: &Tensor, create_graph: bool) -> Result<Tensor> {
        let p = self.posterior(logits);
        let scalar = match self.scalar {
            Scalar::Posterior => (&p * &p).sum(None::<Kind>) * 0.5,
            Scalar::PosteriorDetached => (p.detach() * p).sum(None::<Kind>),
            Scalar::Logits => (p.detach() * logits).sum(None::<Kind>),
        };
        let mut gradients = Tensor::f_run_backward(&[scalar], &[images], true, create_graph)?;
        let r = gradients.swap_remove(0);
        Ok(match self.normalise {
            Normalise::None => r,
            Normalise::Rms => {
                let mean_square = (&r * &r).mean_dim([1i64, 2, 3].as_slice(), true, None::<Kind>);
                // R vanishes for a posterior that is one-hot to the last bit.
                r / mean_square.clamp_min(1e-36).sqrt()
            }
        })
    }
}

/// Mean over the batch of the Euclidean norm of each image's R: a scalar.
pub fn mean_norm(r: &Tensor) -> Tensor {
    rows(r).norm_scalaropt_dim(2, [-1i64].as_slice(), false).mean(None::<Kind>)
}
