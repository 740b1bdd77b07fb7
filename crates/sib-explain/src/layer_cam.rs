//! LayerCAM.

use sib_core::Result;
use tch::Tensor;

use crate::cam::{CamContext, ChannelWeights};
use crate::spec::Spec;

pub(crate) const SPEC: Spec = Spec { name: "layer-cam", title: "LayerCAM", batch_size: 32 };

/// Every position has its own weight, `ReLU(∂z_c/∂A_kij)` (Jiang et al. 2021,
/// doi:10.1109/TIP.2021.3089943, eq. 6).
#[derive(Debug, Clone)]
pub struct LayerCam;

impl ChannelWeights for LayerCam {
    fn weights(&self, ctx: &CamContext) -> Result<Tensor> {
        Ok(ctx.gradient()?.relu())
    }
}
