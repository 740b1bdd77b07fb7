//! Integrated gradients.

use serde::{Deserialize, Serialize};
use sib_core::{Backbone, Error, Mode, Result};
use tch::{Kind, Tensor};

use crate::explainer::{ChannelReduction, InputAttribution};
use crate::quadrature::QuadratureRule;
use crate::spec::Spec;
use crate::target::{Target, input_gradient};

pub(crate) const SPEC: Spec =
    Spec { name: "integrated-gradients", title: "Integrated Gradients", batch_size: 16 };

/// Settings of `integrated-gradients`: see [`IntegratedGradients`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntegratedGradientsOptions {
    /// Nodes of the quadrature.
    pub steps: usize,
    /// The quadrature.
    pub rule: QuadratureRule,
    /// The baseline in normalised space.
    pub baseline: BaselineValues,
}

impl Default for IntegratedGradientsOptions {
    fn default() -> Self {
        Self { steps: 50, rule: QuadratureRule::default(), baseline: BaselineValues::One(0.0) }
    }
}

/// A baseline that a configuration can spell: one value, or one for each channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BaselineValues {
    /// `0.0`
    One(f64),
    /// `[-1.0, -1.0, -1.0]`
    PerChannel(Vec<f64>),
}

impl From<&BaselineValues> for Baseline {
    fn from(values: &BaselineValues) -> Self {
        match values {
            BaselineValues::One(value) => Self::Constant(*value),
            BaselineValues::PerChannel(values) => Self::PerChannel(values.clone()),
        }
    }
}

/// The image that stands for the absence of information, in normalised space.
#[derive(Debug)]
pub enum Baseline {
    /// The same value everywhere; 0 is the mean colour of the data.
    Constant(f64),
    /// One value for each channel.
    PerChannel(Vec<f64>),
    /// An image `[3,H,W]`, the same for all inputs.
    Image(Tensor),
}

/// `(x − x')·∫₀¹ ∂z/∂x (x' + α(x − x')) dα` (Sundararajan et al. 2017, arXiv:1703.01365, eq. 1).
/// Heatmap: sum of the magnitudes over the channels.
#[derive(Debug)]
pub struct IntegratedGradients {
    /// Nodes of the quadrature.
    pub steps: usize,
    /// The quadrature.
    pub rule: QuadratureRule,
    /// `x'`.
    pub baseline: Baseline,
    /// Points of the paths in one forward pass.
    pub batch_size: i64,
}

/// An attribution, and how far it is from complete.
#[derive(Debug)]
pub struct CompleteAttribution {
    /// Signed attribution `[B,3,H,W]`.
    pub attribution: Tensor,
    /// `s(x) − s(x')` `[B]` of the target s: what the attribution of each image should sum to.
    pub difference: Tensor,
    /// Sum of the attribution less [`Self::difference`], `[B]`: the quadrature's error.
    pub residual: Tensor,
}

impl IntegratedGradients {
    /// With these options, of at most `batch_size` points in one forward pass.
    ///
    /// # Errors
    /// [`Error::Invalid`] for fewer steps than the rule needs.
    pub fn new(options: &IntegratedGradientsOptions, batch_size: i64) -> Result<Self> {
        let IntegratedGradientsOptions { steps, rule, ref baseline } = *options;
        rule.nodes(steps)?;
        Ok(Self { steps, rule, baseline: baseline.into(), batch_size })
    }

    /// The signed attribution and what it lacks of completeness.
    ///
    /// # Errors
    /// As [`Explainer::explain`](crate::Explainer::explain).
    pub fn with_completeness(
        &self,
        model: &dyn Backbone,
        images: &Tensor,
        target: &Target,
    ) -> Result<CompleteAttribution> {
        let attribution = self.signed(model, images, target)?;
        let difference = self.difference(model, images, target)?;
        let residual = total(&attribution) - &difference;
        Ok(CompleteAttribution { attribution, difference, residual })
    }

    /// `s(x) − s(x')` `[B]` of the target s, of the network that the gradients are of: [`Backbone::forward`] may
    /// round where no derivative is recorded.
    fn difference(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        let baselines = self.baseline_of(images)?.expand_as(images);
        let logits = |x: &Tensor| {
            let chunks = x.split(self.batch_size.max(1), 0);
            let logits =
                chunks.iter().map(|chunk| model.forward_probed(chunk, Mode::Eval, &mut ()));
            let logits: Vec<Tensor> = tch::no_grad(|| logits.collect());
            target.scores(&Tensor::cat(&logits, 0))
        };
        Ok(logits(images)? - logits(&baselines)?)
    }

    /// The baseline in a shape that broadcasts with `images` `[B,C,H,W]`.
    fn baseline_of(&self, images: &Tensor) -> Result<Tensor> {
        let options = (images.kind(), images.device());
        let channels = images.size()[1];
        match &self.baseline {
            Baseline::Constant(value) => Ok(Tensor::full([1, 1, 1], *value, options)),
            Baseline::PerChannel(values) if values.len() as i64 == channels => {
                Ok(Tensor::from_slice(values).to(options.1).to_kind(options.0).reshape([-1, 1, 1]))
            }
            Baseline::PerChannel(values) => Err(Error::invalid(
                "integrated-gradients.baseline",
                format!("{} values", values.len()),
                format!("one value, or one for each of the {channels} channels"),
            )),
            Baseline::Image(image) if image.size() == images.size()[1..] => {
                Ok(image.to(options.1).to_kind(options.0))
            }
            Baseline::Image(image) => {
                let expected = format!("the shape of one image, {:?}", &images.size()[1..]);
                Err(Error::shape("the baseline of integrated gradients", image, expected))
            }
        }
    }
}

/// Sum `[B]` of an attribution `[B,3,H,W]`.
fn total(attribution: &Tensor) -> Tensor {
    attribution.sum_dim_intlist([1, 2, 3].as_slice(), false, None::<Kind>)
}

impl InputAttribution for IntegratedGradients {
    fn batch_size(&self) -> i64 {
        self.batch_size
    }

    fn reduction(&self) -> ChannelReduction {
        ChannelReduction::SumAbs
    }

    fn completeness_error(
        &self,
        model: &dyn Backbone,
        images: &Tensor,
        target: &Target,
        attribution: &Tensor,
    ) -> Result<Option<Tensor>> {
        let expected = self.difference(model, images, target)?;
        Ok(Some((total(attribution) - &expected).abs() / expected.abs()))
    }

    fn attribute(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        let count = images.size()[0];
        let baseline = self.baseline_of(images)?;
        let difference = images - &baseline;
        let nodes = self.rule.nodes(self.steps)?;
        let column = |values: Vec<f64>| {
            Tensor::from_slice(&values)
                .to(images.device())
                .to_kind(images.kind())
                .reshape([-1, 1, 1, 1, 1])
        };
        let mut integral = images.zeros_like();
        for nodes in nodes.chunks((self.batch_size / count).max(1) as usize) {
            let steps = nodes.len() as i64;
            let (alphas, weights): (Vec<_>, Vec<_>) = nodes.iter().copied().unzip();
            let points = &baseline + column(alphas) * &difference; // [steps, B, C, H, W]
            let gradients = input_gradient(model, &points.flatten(0, 1), &target.repeated(steps))?;
            integral += (gradients.reshape_as(&points) * column(weights)).sum_dim_intlist(
                0,
                false,
                None::<Kind>,
            );
        }
        Ok(difference * integral)
    }
}
