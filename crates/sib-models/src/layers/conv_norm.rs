//! A convolution with batch normalisation behind it, which is one affine map in eval mode.

use sib_core::{Mode, Probe};
use tch::Tensor;
use tch::nn::Path;

use super::batch_norm::BatchNorm2d;
use super::conv::Conv2d;
use crate::Precision;

/// A convolution and, where there is one, the normalisation of its output.
#[derive(Debug, Clone)]
pub struct ConvNorm {
    conv: Conv2d,
    norm: Option<BatchNorm2d>,
}

impl ConvNorm {
    /// `conv` and a new normalisation, whose variables lie under `norm`.
    pub fn new(conv: Conv2d, norm: &Path) -> Self {
        let norm = BatchNorm2d::new(norm, conv.out_channels());
        Self { conv, norm: Some(norm) }
    }

    /// `conv` alone.
    pub fn without_norm(conv: Conv2d) -> Self {
        Self { conv, norm: None }
    }

    /// Number of channels that it makes.
    pub fn out_channels(&self) -> i64 {
        self.conv.out_channels()
    }

    /// `[B,in,H,W]` to `[B,out,h,w]`.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let y = self.conv.forward(x);
        match &self.norm {
            Some(norm) => norm.forward(&y, mode),
            None => y,
        }
    }

    /// `relu(forward(x) + shortcut)`, in as few passes over memory as `probe` allows.
    pub fn forward_relu(
        &self,
        x: &Tensor,
        shortcut: Option<&Tensor>,
        mode: Mode,
        probe: &mut dyn Probe,
    ) -> Tensor {
        match &self.norm {
            Some(norm) => norm.forward_relu(&self.conv.forward(x), shortcut, mode, probe),
            None => self.conv.forward_relu(x, shortcut, probe),
        }
    }

    /// The same map in eval mode as a single convolution, which does not follow training: with
    /// `a = γ / sqrt(σ² + ε)`, kernels `a·W` and bias `β + a·(b − μ)`. Computed in f64 and rounded once.
    pub fn folded(&self, precision: Precision) -> Self {
        let conv = match &self.norm {
            None => self.conv.frozen(precision),
            Some(norm) => {
                let (scale, shift) = norm.eval_affine();
                self.conv.followed_by(&scale, &shift, precision)
            }
        };
        Self::without_norm(conv)
    }
}
