//! An explainer of one's own: a class-activation map that is not among those of the crate.

use sib_core::Result;
use sib_core::testing::formula_tensor;
use sib_explain::{CamContext, CamOptions, ChannelWeights, Explainer, Target};
use sib_models::{Arch, Model, ModelOptions};
use tch::{Device, Kind, Tensor};

// quote: explainer
/// XGrad-CAM: `w_k = Σ_ij A_kij ∂s/∂A_kij / Σ_ij A_kij` (Fu et al. 2020, arXiv:2008.02312, eq. 8); 0 where
/// the channel sums to 0.
#[derive(Debug, Clone)]
struct XGradCam;

impl ChannelWeights for XGradCam {
    fn weights(&self, ctx: &CamContext) -> Result<Tensor> {
        let sum = |x: &Tensor| x.sum_dim_intlist([2, 3].as_slice(), true, None::<Kind>);
        let total = sum(&ctx.activation); // [B,C,1,1]
        let weights = sum(&(ctx.gradient()? * &ctx.activation)) / &total;
        Ok(weights.masked_fill(&total.eq(0.0), 0.0))
    }
}

/// Heatmaps `[B,H,W]` of normalised `images` `[B,3,H,W]`: why the network gives `classes`, i64 `[B]`, their
/// logits.
fn x_grad_cam(model: &Model, images: &Tensor, classes: &Tensor) -> Result<Tensor> {
    let explainer = CamOptions::default().cam(XGradCam, 32);
    explainer.explain(model.backbone(), images, &Target::class(classes))
}
// end

pub(crate) fn main() -> Result<()> {
    let model = Model::new(Arch::ResNet18, 10, Device::Cpu, &ModelOptions::default())?;
    let images = formula_tensor("images", &[2, 3, 64, 64]).to_kind(Kind::Float);
    let heatmaps = x_grad_cam(&model, &images, &Tensor::from_slice(&[3_i64, 7]))?;
    println!("heatmaps {:?} up to {:.2e}", heatmaps.size(), heatmaps.max().double_value(&[]));
    assert_eq!(heatmaps.size(), [2, 64, 64]);
    Ok(())
}
