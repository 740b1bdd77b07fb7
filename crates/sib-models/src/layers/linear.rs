//! Linear layer.

use tch::nn::Path;
use tch::{Kind, Tensor};

use super::init::{Init, Variable};
use crate::Precision;

/// `x W^T + b`; the variables are `weight` `[out, in]` and `bias` `[out]`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Variable,
    bias: Variable,
}

impl Linear {
    /// New variables under `path`.
    pub fn new(path: &Path, in_features: i64, out_features: i64, weight: Init, bias: Init) -> Self {
        let fans = (in_features, out_features);
        let weight = weight.draw(&[out_features, in_features], fans, path.device());
        let bias = bias.draw(&[out_features], fans, path.device());
        Self {
            weight: path.add("weight", weight, true).into(),
            bias: path.add("bias", bias, true).into(),
        }
    }

    /// `[...,in]` to `[...,out]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight.like(x), Some(self.bias.like(x)))
    }

    /// Of the means of a feature map `[B,in,h,w]` over its pixels, which are taken in this layer's
    /// precision: `[B,out]`.
    pub fn forward_pooled(&self, x: &Tensor) -> Tensor {
        self.forward(&x.mean_dim([2_i64, 3].as_slice(), false, self.kind()))
    }

    /// The kind of numbers that it computes with.
    pub fn kind(&self) -> Kind {
        self.weight.kind()
    }

    /// A copy that does not follow training.
    pub fn frozen(&self, precision: Precision) -> Self {
        Self { weight: self.weight.frozen(precision), bias: self.bias.frozen(precision) }
    }
}
