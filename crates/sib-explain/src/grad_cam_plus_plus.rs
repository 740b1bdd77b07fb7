//! GradCAM++.

use serde::{Deserialize, Serialize};
use sib_core::Result;
use tch::{Kind, Tensor};

use crate::cam::{CamContext, ChannelWeights};
use crate::spec::Spec;

pub(crate) const SPEC: Spec =
    Spec { name: "grad-cam-plus-plus", title: "GradCAM++", batch_size: 32 };

/// Settings of `grad-cam-plus-plus`: see [`GradCamPlusPlus`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradCamPlusPlusOptions {
    /// Added to the denominator.
    pub epsilon: f64,
}

/// `w_k = Σ_ij α_ij ReLU(g_ij)` with `α = g²/(2g² + g³ΣA)` (Chattopadhay et al. 2018,
/// arXiv:1710.11063, eq. 11 and 19).
///
/// For `g ≠ 0` the fraction is `1/(2 + gΣA)`, which neither under- nor overflows; `α` is 0 where
/// `g` or the denominator is 0.
#[derive(Debug, Clone, Default)]
pub struct GradCamPlusPlus {
    /// Added to the denominator `2g² + g³ΣA`. 0 is the definition; 1e-6 reproduces pytorch-grad-cam,
    /// which thereby damps every gradient that is small against 1e-3.
    pub epsilon: f64,
}

impl GradCamPlusPlus {
    /// With these options.
    pub fn new(options: &GradCamPlusPlusOptions) -> Self {
        Self { epsilon: options.epsilon }
    }
}

impl ChannelWeights for GradCamPlusPlus {
    fn weights(&self, ctx: &CamContext) -> Result<Tensor> {
        let g = ctx.gradient()?;
        let sum = ctx.activation.sum_dim_intlist([2, 3].as_slice(), true, None::<Kind>);
        let mut denominator = g * sum + 2.0;
        if self.epsilon > 0.0 {
            denominator += self.epsilon / g.square(); // infinite where g = 0, so that α is 0
        }
        let alpha = denominator.reciprocal().masked_fill(&denominator.eq(0.0), 0.0);
        Ok((alpha * g.relu()).sum_dim_intlist([2, 3].as_slice(), true, None::<Kind>))
    }
}
