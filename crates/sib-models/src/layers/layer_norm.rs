//! Layer normalisation.

use sib_core::tensor;
use tch::nn::Path;
use tch::{Kind, Tensor};

use super::init::Variable;
use crate::Precision;

/// Layer normalisation over the last dimension (Ba et al. 2016, arXiv:1607.06450); the variables are
/// `weight` and `bias` `[features]`.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Variable,
    bias: Variable,
    eps: f64,
}

impl LayerNorm {
    /// New variables under `path`: the identity, but for the normalisation; `eps` is added to the variance.
    pub fn new(path: &Path, features: i64, eps: f64) -> Self {
        let float = (Kind::Float, path.device());
        Self {
            weight: path.add("weight", Tensor::ones(features, float), true).into(),
            bias: path.add("bias", Tensor::zeros(features, float), true).into(),
            eps,
        }
    }

    /// `[...,features]` to `[...,features]`, computed in the kind of the variables.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let y = x.to_kind(self.weight.kind());
        tensor::layer_norm(&y, &self.weight, &self.bias, self.eps).to_kind(x.kind())
    }

    /// A copy that does not follow training.
    pub fn frozen(&self, precision: Precision) -> Self {
        let [weight, bias] = [&self.weight, &self.bias].map(|x| x.frozen(precision));
        Self { weight, bias, eps: self.eps }
    }
}
