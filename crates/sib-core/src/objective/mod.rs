//! The S-IB objective: cross-entropy plus the foreground and background terms on R = Jᵀp
//! (eqs. 12, 16, 29 and 30 of the paper).

mod background;
mod feature_map;
mod foreground;
mod mask;
mod quantile;
mod sample;
mod vjp;

pub use background::{BackgroundConfig, Variance};
pub use feature_map::At;
pub use foreground::{HsicConfig, RowNormalise};
pub use mask::{Channels, Mask, MaskAt, MaskConfig, MaskKind, MaskOrigin};
pub use sample::Input;
use sample::shuffled;
pub use vjp::{Decoded, LEAST_DOUBT, Measure, Normalise, Scalar, VjpConfig, mean_norm, unit_scale};

use serde::{Deserialize, Serialize};
use tch::{Reduction, Tensor};

use crate::group::Group;
use crate::{Error, Probe, Result, recompute};

/// How the two terms enter the total loss (decision F2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// `λ·L` for each term (eqs. 29 and 30).
    #[default]
    Linear,
    /// `λ·(exp(L) − 1)`: equal to first order; the constant λ is left out, which would swallow the
    /// digits of the rest in f32.
    Exponential,
}

/// Who sets λ_bg and λ_fg during training (decision F4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// `lambda_bg` and `lambda_fg` as they are.
    #[default]
    Fixed,
    /// Rescaled so that each term's gradient norm is a set share of cross-entropy's.
    GradientShare,
}

/// The shares of [`Weights::GradientShare`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradientShare {
    /// `‖λ_bg ∇L_bg‖ / ‖∇L_ce‖`, at least 0.
    pub background: f64,
    /// `‖λ_fg ∇L_fg‖ / ‖∇L_ce‖`, at least 0.
    pub foreground: f64,
    /// Steps between two measurements of the three norms, at least 1.
    pub every_steps: u64,
    /// Weight of the past in the exponential average of the measured ratios, in `[0, 1)`.
    pub momentum: f64,
}

impl Default for GradientShare {
    fn default() -> Self {
        Self { background: 0.1, foreground: 0.1, every_steps: 20, momentum: 0.9 }
    }
}

/// Whose settings those not given are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The paper's: the defaults, but for λ_fg of a few runs (decision F1).
    #[default]
    Paper,
    /// Sharper class-activation maps: the background term alone, a third as strong as cross-entropy, on contributions of
    /// the last stage's feature map, with the mask of the image (decision F7).
    ClassMaps,
}

impl Preset {
    /// Its settings.
    pub fn config(self) -> SibConfig {
        match self {
            Self::Paper => SibConfig::default(),
            Self::ClassMaps => SibConfig {
                preset: self,
                weights: Weights::GradientShare,
                gradient_share: GradientShare {
                    background: 0.3,
                    foreground: 0.0,
                    every_steps: 10,
                    momentum: 0.5,
                },
                vjp: VjpConfig {
                    at: At::Layer("layer4".to_owned()),
                    measure: Measure::Contribution,
                    normalise: Normalise::Rms,
                    ..VjpConfig::default()
                },
                mask: MaskConfig {
                    at: MaskAt::Image,
                    channels: Channels::Magnitudes,
                    ..MaskConfig::default()
                },
                ..SibConfig::default()
            },
        }
    }
}

/// Settings of the objective and of when training applies it; the defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SibConfig {
    /// Whose settings those not given are.
    pub preset: Preset,
    /// Whether the two terms are trained on at all; otherwise cross-entropy alone.
    pub enabled: bool,
    /// λ_bg, weight of the background term; at least 0.
    pub lambda_bg: f64,
    /// λ_fg, weight of the foreground term; at least 0.
    pub lambda_fg: f64,
    /// How the terms enter the total.
    pub form: Form,
    /// Apply the terms on every k-th step, with k times the weight; at least 1 (decision F3).
    pub every: u64,
    /// Compute the terms on so many images of each batch, evenly spread, by a forward pass of their own with
    /// normalisations over them; a divisor of the batch. Unset: on all, by the pass that cross-entropy has (decision
    /// F6).
    pub images: Option<u64>,
    /// Compute the terms on images of so many times the height and width, in `(0, 1]`, by a forward pass of their
    /// own.
    pub scale: f64,
    /// First epoch, counted from 0, that the terms are applied in.
    pub start_epoch: u64,
    /// Who sets the two weights.
    pub weights: Weights,
    /// Settings of `weights = "gradient-share"`.
    pub gradient_share: GradientShare,
    /// How R is computed.
    pub vjp: VjpConfig,
    /// How the mask is made from R.
    pub mask: MaskConfig,
    /// How the foreground term is computed.
    pub hsic: HsicConfig,
    /// How the background term is computed.
    pub background: BackgroundConfig,
}

impl Default for SibConfig {
    fn default() -> Self {
        Self {
            preset: Preset::Paper,
            enabled: true,
            lambda_bg: 1000.0,
            lambda_fg: 0.01,
            form: Form::Linear,
            every: 1,
            images: None,
            scale: 1.0,
            start_epoch: 0,
            weights: Weights::Fixed,
            gradient_share: GradientShare::default(),
            vjp: VjpConfig::default(),
            mask: MaskConfig::default(),
            hsic: HsicConfig::default(),
            background: BackgroundConfig::default(),
        }
    }
}

/// λ_bg and λ_fg as they stand at a step.
/// f64 scalars: measured ones stay on their device, others on the CPU multiply scalars of any.
#[derive(Debug)]
pub struct Lambdas {
    /// Weight of the background term.
    pub background: Tensor,
    /// Weight of the foreground term.
    pub foreground: Tensor,
}

/// One batch's terms, each a scalar that can be differentiated with respect to the weights.
#[derive(Debug)]
pub struct Terms {
    /// Logits `[B,K]`.
    pub logits: Tensor,
    /// L_ce.
    pub cross_entropy: Tensor,
    /// L_fg = −HSIC(R ⊙ M, X ⊙ M).
    pub foreground: Tensor,
    /// L_bg, the variance of R ⊙ (1 − M).
    pub background: Tensor,
    /// R `[k,C,h,w]`: of k = B images `[B,3,H,W]`, or as [`SibConfig::images`], [`SibConfig::scale`] and
    /// [`VjpConfig::at`] say.
    pub vjp: Tensor,
    /// M `[k,1,h,w]`.
    pub mask: Tensor,
}

/// L_ce of `logits` `[B,K]` against the classes `labels` `[B]`, with `label_smoothing` in `[0, 1)`
/// (0: none): the mean over the batch. (`Tensor::cross_entropy_for_logits` computes in f32.)
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, label_smoothing: f64) -> Tensor {
    let class_weights = None::<&Tensor>;
    logits.cross_entropy_loss(labels, class_weights, Reduction::Mean, -100, label_smoothing)
}

impl SibConfig {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(&self) -> Result<()> {
        let share = &self.gradient_share;
        for (key, value) in [
            ("lambda_bg", self.lambda_bg),
            ("lambda_fg", self.lambda_fg),
            ("gradient_share.background", share.background),
            ("gradient_share.foreground", share.foreground),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::invalid(key, value, "at least 0"));
            }
        }
        for (key, value) in
            [("every", self.every), ("gradient_share.every_steps", share.every_steps)]
        {
            if value == 0 {
                return Err(Error::invalid(key, value, "at least 1"));
            }
        }
        if !(self.scale > 0.0 && self.scale <= 1.0) {
            return Err(Error::invalid("scale", self.scale, "a number in (0, 1]"));
        }
        if !(0.0..1.0).contains(&share.momentum) {
            let expected = "a number in [0, 1)";
            return Err(Error::invalid("gradient_share.momentum", share.momentum, expected));
        }
        if self.mask.kind == MaskKind::Hard {
            let expected = "soft or max-norm: steps have no gradient";
            return Err(Error::invalid("mask.kind", "hard", expected));
        }
        self.vjp.validate().map_err(|error| error.within("vjp"))?;
        self.mask.validate().map_err(|error| error.within("mask"))?;
        self.hsic.validate().map_err(|error| error.within("hsic"))?;
        self.background.validate().map_err(|error| error.within("background"))
    }

    /// All terms of one batch, `input`, of images `[B,3,H,W]`; `forward` takes images to logits `[B,K]` under a
    /// probe, and `cross_entropy` logits to L_ce.
    ///
    /// Training has batch normalisation in train mode, so that R is the derivative of the network that is being
    /// trained (decision B3). Where the terms have images of their own, `forward` is called for them as well, with
    /// [`recompute::is_again`].
    ///
    /// # Errors
    /// When the batch is too small for the HSIC estimator, a setting does not fit images or network, or libtorch lacks
    /// a second derivative.
    pub fn terms<'i>(
        &self,
        input: impl Into<Input<'i>>,
        forward: impl Fn(&Tensor, &mut dyn Probe) -> Tensor,
        cross_entropy: impl FnOnce(&Tensor) -> Tensor,
    ) -> Result<Terms> {
        self.terms_of_group(input.into(), forward, cross_entropy, &Group::alone())
    }

    /// The terms of the batch of which `input` is this member's part of `group` (decision N9). The scalars' gradients
    /// have to be averaged over the members; L_ce is that of the part, the two terms are those of the whole.
    ///
    /// # Errors
    /// As [`Self::terms`]; [`Error::Group`] where another member does not take part.
    pub fn terms_of_group(
        &self,
        input: Input<'_>,
        forward: impl Fn(&Tensor, &mut dyn Probe) -> Tensor,
        cross_entropy: impl FnOnce(&Tensor) -> Tensor,
        group: &Group,
    ) -> Result<Terms> {
        let images = input.images;
        let decode = |images: &Tensor| self.vjp.decode(images, self.mask.is_of_images(), &forward);
        let (logits, decoded) = match self.sample(images, group)? {
            None => {
                let decoded = decode(images)?;
                (decoded.logits.shallow_clone(), decoded)
            }
            Some(sample) => {
                let logits = forward(images, &mut ());
                (logits, recompute::again(|| decode(&sample))?)
            }
        };
        let Decoded { x, vjp, of_images, .. } = decoded; // [k,C,h,w]
        // [k,1,h,w]
        let mask = match (self.mask.source, of_images) {
            (MaskOrigin::Annotation, _) => self.annotated(input, &vjp, group)?,
            (MaskOrigin::Network, None) => self.mask.apply(&vjp)?.mask,
            (MaskOrigin::Network, Some(r)) => {
                self.mask.apply(&r)?.mask.adaptive_avg_pool2d(&vjp.size()[2..])
            }
        };
        let mask = if self.mask.shuffled { shuffled(&mask) } else { mask };
        let foreground = -self.hsic.hsic_of_group(&(&vjp * &mask), &(x * &mask), group)?;
        let background = self.background.variance_of_group(&(&vjp * (1.0 - &mask)), group)?;
        let cross_entropy = cross_entropy(&logits);
        Ok(Terms { logits, cross_entropy, foreground, background, vjp, mask })
    }

    /// The weights as configured.
    pub fn lambdas(&self) -> Lambdas {
        Lambdas {
            background: Tensor::from(self.lambda_bg),
            foreground: Tensor::from(self.lambda_fg),
        }
    }

    /// `L_IB`: both terms in the form that is set, weighted (eq. 29): a scalar.
    pub fn information_bottleneck(&self, terms: &Terms, lambdas: &Lambdas) -> Tensor {
        let enter = |term: &Tensor, lambda: &Tensor| {
            // In the term's precision, as a number would be.
            let lambda = lambda.to_kind(term.kind());
            match self.form {
                Form::Linear => term * lambda,
                Form::Exponential => term.expm1() * lambda,
            }
        };
        enter(&terms.background, &lambdas.background)
            + enter(&terms.foreground, &lambdas.foreground)
    }

    /// `L = L_ce + L_IB` with the configured weights (eq. 30): a scalar.
    pub fn total(&self, terms: &Terms) -> Tensor {
        &terms.cross_entropy + self.information_bottleneck(terms, &self.lambdas())
    }
}
