//! The map that S-IB itself makes of an image: where the vector-Jacobian product is dense.

use sib_core::objective::{Mask, MaskConfig, VjpConfig};
use sib_core::{Backbone, Mode, Result};
use tch::Tensor;

use crate::explainer::{Explainer, in_chunks};
use crate::target::target_logits;

/// The density map d that the mask head makes of R = Jᵀp (section 3.3 of the paper), with the
/// network in evaluation mode.
///
/// p weighs all classes, so the map explains the whole posterior and is the same for every target.
#[derive(Debug, Clone)]
pub struct SIbMap {
    /// How R is computed.
    pub vjp: VjpConfig,
    /// How density and mask are made from R.
    pub mask: MaskConfig,
    /// Images in one forward pass.
    pub batch_size: i64,
}

impl SIbMap {
    /// The soft mask M `[B,H,W]` that belongs to the density map; above 0.5 on the foreground.
    ///
    /// # Errors
    /// As [`Explainer::explain`].
    pub fn mask(&self, model: &dyn Backbone, images: &Tensor, targets: &Tensor) -> Result<Tensor> {
        in_chunks(self.batch_size, images, targets, |images, targets| {
            Ok(self.apply(model, images, targets)?.mask.squeeze_dim(1))
        })
    }

    fn apply(&self, model: &dyn Backbone, images: &Tensor, targets: &Tensor) -> Result<Mask> {
        tch::with_grad(|| {
            let leaf = images.detach().set_requires_grad(true);
            let logits = model.forward(&leaf, Mode::Eval);
            // The map needs no target, but one that is no class is a mistake here as elsewhere.
            let _ = target_logits(&logits, targets)?;
            let vjp = self.vjp.vjp(&leaf, &logits, false)?;
            self.mask.apply(&vjp)
        })
    }
}

impl Explainer for SIbMap {
    fn explain(&self, model: &dyn Backbone, images: &Tensor, targets: &Tensor) -> Result<Tensor> {
        in_chunks(self.batch_size, images, targets, |images, targets| {
            Ok(self.apply(model, images, targets)?.density.squeeze_dim(1))
        })
    }
}
