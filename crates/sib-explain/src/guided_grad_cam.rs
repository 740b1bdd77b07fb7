//! Guided GradCAM.

use sib_core::{Backbone, Result};
use tch::Tensor;

use crate::cam::Cam;
use crate::explainer::{ChannelReduction, Explainer, InputAttribution};
use crate::grad_cam::GradCam;
use crate::guided_backprop::GuidedBackprop;
use crate::spec::Spec;
use crate::target::Target;

pub(crate) const SPEC: Spec =
    Spec { name: "guided-grad-cam", title: "Guided GradCAM", batch_size: 8 };

/// The signed map of guided backpropagation times the upsampled GradCAM: fine detail of what is
/// class-discriminative (Selvaraju et al. 2017, arXiv:1610.02391, section 3.2).
#[derive(Debug, Clone)]
pub struct GuidedGradCam {
    /// Where.
    pub cam: Cam<GradCam>,
    /// What.
    pub guided: GuidedBackprop,
}

impl InputAttribution for GuidedGradCam {
    fn batch_size(&self) -> i64 {
        self.guided.batch_size
    }

    fn reduction(&self) -> ChannelReduction {
        ChannelReduction::MaxAbs
    }

    fn attribute(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        let cam = self.cam.explain(model, images, target)?.unsqueeze(1);
        Ok(self.guided.attribute(model, images, target)? * cam)
    }
}
