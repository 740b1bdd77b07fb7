//! The vector-Jacobian product of the posterior, R = Jᵀp (Table 1 of the paper).

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::feature_map::{self, At, Tapped};
use crate::{Error, Probe, Result, tensor::rows};

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

/// What of R the mask and the losses see (decision B5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// R itself: what a change of each value would do.
    #[default]
    Gradient,
    /// `R ⊙ X`: what each value contributes, to first order. At a map that is averaged over its places R is the same at
    /// each of them, and its contributions, summed over channels, are the map of GradCAM for ½‖p‖².
    Contribution,
}

/// How R is computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VjpConfig {
    /// With respect to what.
    pub at: At,
    /// Whose gradient R is.
    pub scalar: Scalar,
    /// What of R the mask and the losses see.
    pub measure: Measure,
    /// Rescaling of each image's R, or of its contributions.
    pub normalise: Normalise,
    /// Softmax temperature τ of `p = softmax(z/τ)`, above 0.
    pub temperature: f64,
}

impl Default for VjpConfig {
    fn default() -> Self {
        Self {
            at: At::Image,
            scalar: Scalar::Posterior,
            measure: Measure::Gradient,
            normalise: Normalise::None,
            temperature: 1.0,
        }
    }
}

impl VjpConfig {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(&self) -> Result<()> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(Error::invalid("temperature", self.temperature, "a number above 0"));
        }
        Ok(())
    }

    /// `p = softmax(z/τ)`, f64 `[B,K]`: where the network is sure, R has the direction of differences
    /// between numbers close to 1, which f32 loses.
    pub fn posterior(&self, logits: &Tensor) -> Tensor {
        (logits.to_kind(Kind::Double) / self.temperature).softmax(-1, None::<Kind>)
    }

    /// One pass of `images` `[B,3,H,W]` through `forward`, logits `[B,K]`, and R where [`Self::at`] says, which can be
    /// differentiated with respect to the weights. With `of_images`, also that of the images as a constant.
    ///
    /// Between the images and a feature map that R is taken at, no derivative is unless it is asked for.
    ///
    /// # Errors
    /// As [`Self::vjp`]; [`Error::Invalid`] where the network has no such feature map.
    pub fn decode(
        &self,
        images: &Tensor,
        of_images: bool,
        forward: impl FnOnce(&Tensor, &mut dyn Probe) -> Tensor,
    ) -> Result<Decoded> {
        let leaf = || images.detach().set_requires_grad(true);
        let (logits, x, images) = match &self.at {
            At::Image => {
                let x = leaf();
                (forward(&x, &mut ()), x.shallow_clone(), x)
            }
            At::Layer(layer) => {
                let images = if of_images { leaf() } else { images.shallow_clone() };
                let mut tapped = Tapped::new(layer, images.kind());
                let logits = forward(&images, &mut tapped);
                (logits, tapped.map()?, images)
            }
        };
        let r = self.derivative(&x, &logits, true)?;
        if let (At::Layer(layer), Measure::Gradient) = (&self.at, self.measure) {
            feature_map::expect_places(layer, &r)?;
        }
        let x = if self.at == At::Image { x.detach() } else { x };
        let vjp = self.normalised(match self.measure {
            Measure::Gradient => r,
            Measure::Contribution => r * &x,
        });
        let of_images = of_images.then(|| self.vjp(&images, &logits, false)).transpose()?;
        Ok(Decoded { logits, x, vjp, of_images })
    }

    /// R, like `x` `[B,C,H,W]`, of images or a feature map that require a gradient and the `logits` `[B,K]` that were
    /// made of them.
    ///
    /// One backward pass for the whole batch; the graph of the forward pass is kept. With
    /// `create_graph`, R can be differentiated with respect to the weights.
    ///
    /// # Errors
    /// When the posterior is of one class, x does not require a gradient, or libtorch lacks a
    /// (second) derivative.
    pub fn vjp(&self, x: &Tensor, logits: &Tensor, create_graph: bool) -> Result<Tensor> {
        Ok(self.normalised(self.derivative(x, logits, create_graph)?))
    }

    /// As [`Self::vjp`], at its own scale.
    fn derivative(&self, x: &Tensor, logits: &Tensor, create_graph: bool) -> Result<Tensor> {
        let p = self.posterior(logits);
        if self.scalar != Scalar::Logits {
            expect_classes(logits)?;
        }
        let scalar = match self.scalar {
            Scalar::Posterior => {
                let p = Sure::of(&p).posterior();
                (&p * &p).sum(None::<Kind>) * 0.5
            }
            Scalar::PosteriorDetached => {
                let p = Sure::of(&p).posterior();
                (p.detach() * p).sum(None::<Kind>)
            }
            Scalar::Logits => (p.detach() * logits).sum(None::<Kind>),
        };
        let mut gradients = Tensor::f_run_backward(&[scalar], &[x], true, create_graph)?;
        Ok(gradients.swap_remove(0))
    }

    fn normalised(&self, r: Tensor) -> Tensor {
        match self.normalise {
            Normalise::None => r,
            Normalise::Rms => {
                // By its largest value first, or squares would be too small for f32. A constant
                // factor has no part in the result, so none in its derivative.
                let r = &r / largest(&r).detach().clamp_min(f64::from(f32::MIN_POSITIVE));
                let mean_square = (&r * &r).mean_dim([1i64, 2, 3].as_slice(), true, None::<Kind>);
                // R vanishes for a posterior that is one-hot to the last bit.
                r / mean_square.clamp_min(1e-36).sqrt()
            }
        }
    }

    /// Whether each image's R has a direction: bool `[B]`. `r` `[B,3,H,W]` is what [`Self::vjp`] made
    /// of `logits` `[B,K]`.
    ///
    /// It has none where it is zero everywhere, or where the posterior is closer to one-hot than
    /// [`LEAST_DOUBT`]. What is not finite is left to be found as such.
    pub fn is_directed(&self, r: &Tensor, logits: &Tensor) -> Tensor {
        let moves = largest(r).flatten(0, -1).ne(0.0);
        if self.scalar == Scalar::Logits {
            return moves;
        }
        let doubt = Sure::of(&self.posterior(logits)).doubt.flatten(0, -1);
        moves.logical_and(&doubt.lt(LEAST_DOUBT).logical_not())
    }
}

/// What one pass through a network gives the objective.
#[derive(Debug)]
pub struct Decoded {
    /// `[B,K]`.
    pub logits: Tensor,
    /// X `[B,C,H,W]`: the images as a constant, or the feature map as a function of the weights before it.
    pub x: Tensor,
    /// R, or its contributions, like X.
    pub vjp: Tensor,
    /// R `[B,3,H,W]` of the images, where it was asked for.
    pub of_images: Option<Tensor>,
}

/// The least 1 − p, p the highest probability, at which R has a direction: below, its backward pass
/// leaves the range of f32 (decision N7).
pub const LEAST_DOUBT: f64 = 1e-30;

/// R divided by each image's largest magnitude, like `r` `[B,C,H,W]`: its direction, at a scale where
/// the guards of what follows do not count. Zero stays zero.
pub fn unit_scale(r: &Tensor) -> Tensor {
    r / largest(r).clamp_min(f64::from(f32::MIN_POSITIVE))
}

/// Largest magnitude of each image's R: `[B,1,1,1]`.
fn largest(r: &Tensor) -> Tensor {
    r.abs().amax([1i64, 2, 3].as_slice(), true)
}

/// Posteriors seen from their highest entry.
struct Sure<'a> {
    posterior: &'a Tensor,
    /// 1 at the highest entry, the first of equal ones.
    top: Tensor,
    /// 1 − the highest entry, `[B,1]`, as the sum of the others: exact however small.
    doubt: Tensor,
}

impl<'a> Sure<'a> {
    /// Of `posterior` `[B,K]`.
    fn of(posterior: &'a Tensor) -> Self {
        let top =
            posterior.zeros_like().scatter_value(-1, &posterior.argmax(-1, true), 1.0).detach();
        let others: Tensor = posterior * (1.0 - &top);
        let doubt = others.sum_dim_intlist([-1i64].as_slice(), true, None::<Kind>);
        Self { posterior, top, doubt }
    }

    /// The same posterior, its highest entry written as 1 − the sum of the others, so that the
    /// derivative for the winning logit is a sum of small numbers and not the difference of two close
    /// to 1 (decision N7).
    fn posterior(&self) -> Tensor {
        self.posterior * (1.0 - &self.top) + (1.0 - &self.doubt) * &self.top
    }
}

fn expect_classes(logits: &Tensor) -> Result<()> {
    match logits.size()[..] {
        [_, classes] if classes < 2 => {
            let expected = "at least 2: of one class the posterior is constant and R is 0; \
                            vjp.scalar = \"logits\" takes the logit's derivative instead";
            Err(Error::invalid("classes", classes, expected))
        }
        _ => Ok(()),
    }
}

/// Mean over the batch of the Euclidean norm of each image's R: a scalar.
pub fn mean_norm(r: &Tensor) -> Tensor {
    rows(r).norm_scalaropt_dim(2, [-1i64].as_slice(), false).mean(None::<Kind>)
}
