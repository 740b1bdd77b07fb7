//! Saliency maps.

use sib_core::{Backbone, Result};
use tch::Tensor;

use crate::explainer::{ChannelReduction, InputAttribution};
use crate::spec::Spec;
use crate::target::{Target, input_gradient};

pub(crate) const SPEC: Spec = Spec { name: "saliency", title: "Saliency", batch_size: 16 };

/// `max_c |∂z/∂x_c|`: the gradient of the target (Simonyan et al. 2013, arXiv:1312.6034).
#[derive(Debug, Clone)]
pub struct Saliency {
    /// Images in one forward pass.
    pub batch_size: i64,
}

impl InputAttribution for Saliency {
    fn batch_size(&self) -> i64 {
        self.batch_size
    }

    fn reduction(&self) -> ChannelReduction {
        ChannelReduction::MaxAbs
    }

    fn attribute(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        input_gradient(model, images, target)
    }
}
