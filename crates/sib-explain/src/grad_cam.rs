//! GradCAM.

use sib_core::Result;
use tch::{Kind, Tensor};

use crate::cam::{CamContext, ChannelWeights};
use crate::spec::Spec;

pub(crate) const SPEC: Spec = Spec { name: "grad-cam", title: "GradCAM", batch_size: 32 };

/// `w_k` = spatial mean of `∂z_c/∂A_k` (Selvaraju et al. 2017, arXiv:1610.02391, eq. 1).
#[derive(Debug, Clone)]
pub struct GradCam;

impl ChannelWeights for GradCam {
    fn weights(&self, ctx: &CamContext) -> Result<Tensor> {
        Ok(ctx.gradient()?.mean_dim([2, 3].as_slice(), true, None::<Kind>))
    }
}
