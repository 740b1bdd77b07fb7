//! Input × gradient.

use sib_core::{Backbone, Result};
use tch::Tensor;

use crate::explainer::{ChannelReduction, InputAttribution};
use crate::spec::Spec;
use crate::target::{Target, input_gradient};

pub(crate) const SPEC: Spec =
    Spec { name: "input-x-gradient", title: "Input×Gradient", batch_size: 16 };

/// `Σ_c |x_c · ∂z/∂x_c|`: the first-order share of each input in the target (Shrikumar et al. 2016,
/// arXiv:1605.01713), exact for a network that is linear and has no bias.
#[derive(Debug, Clone)]
pub struct InputXGradient {
    /// Images in one forward pass.
    pub batch_size: i64,
}

impl InputAttribution for InputXGradient {
    fn batch_size(&self) -> i64 {
        self.batch_size
    }

    fn reduction(&self) -> ChannelReduction {
        ChannelReduction::SumAbs
    }

    fn attribute(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        Ok(images * input_gradient(model, images, target)?)
    }
}
