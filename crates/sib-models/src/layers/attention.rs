//! Self-attention.

use sib_core::Mode;
use tch::nn::Path;
use tch::{Kind, Tensor};

use super::dropout;
use super::init::{Init, Variable};
use super::linear::Linear;
use crate::Precision;

/// Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762), written out as matmul, softmax,
/// matmul: none of libtorch's fused kernels for it can be differentiated twice.
///
/// The variables are those of PyTorch's `MultiheadAttention`: `in_proj_weight` `[3·width, width]`,
/// `in_proj_bias` `[3·width]`, `out_proj.weight` `[width, width]` and `out_proj.bias` `[width]`.
#[derive(Debug, Clone)]
pub struct SelfAttention {
    in_proj_weight: Variable,
    in_proj_bias: Variable,
    out_proj: Linear,
    heads: i64,
    dropout: f64,
}

impl SelfAttention {
    /// New variables under `path`. `heads` divides `width`; `dropout` is the probability of dropping an
    /// attention weight in train mode.
    pub fn new(path: &Path, width: i64, heads: i64, dropout: f64) -> Self {
        // Xavier's rule over queries, keys and values together, as in PyTorch.
        let weight = Init::Xavier.draw(&[3 * width, width], (width, 3 * width), path.device());
        let bias = Init::Zeros.draw(&[3 * width], (width, 3 * width), path.device());
        Self {
            in_proj_weight: path.add("in_proj_weight", weight, true).into(),
            in_proj_bias: path.add("in_proj_bias", bias, true).into(),
            out_proj: Linear::new(&(path / "out_proj"), width, width, Init::Default, Init::Zeros),
            heads,
            dropout,
        }
    }

    /// `softmax(Q K^T / sqrt(d)) V` per head: tokens `[B,N,width]` to `[B,N,width]`.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let (batch, tokens, width) = x.size3().expect("tokens [B,N,width]");
        let head_width = width / self.heads;
        let qkv = x
            .linear(&self.in_proj_weight.like(x), Some(self.in_proj_bias.like(x)))
            .reshape([batch, tokens, 3, self.heads, head_width])
            .permute([2, 0, 3, 1, 4]); // [3,B,heads,N,d]
        let (q, k, v) = (qkv.select(0, 0), qkv.select(0, 1), qkv.select(0, 2));
        let scores = (q * (head_width as f64).powf(-0.5)).matmul(&k.transpose(-2, -1)); // [B,heads,N,N]
        let weights = dropout(softmax(&scores), self.dropout, mode);
        let mixed = weights.matmul(&v).transpose(1, 2).reshape([batch, tokens, width]);
        self.out_proj.forward(&mixed)
    }

    /// A copy that does not follow training.
    pub fn frozen(&self, precision: Precision) -> Self {
        Self {
            in_proj_weight: self.in_proj_weight.frozen(precision),
            in_proj_bias: self.in_proj_bias.frozen(precision),
            out_proj: self.out_proj.frozen(precision),
            ..*self
        }
    }
}

/// Of the last dimension; of bfloat16 in f32, in which its derivatives are then taken too.
fn softmax(scores: &Tensor) -> Tensor {
    let kind = scores.kind();
    let exact = if kind == Kind::BFloat16 { Kind::Float } else { kind };
    scores.softmax(-1, exact).to_kind(kind)
}
