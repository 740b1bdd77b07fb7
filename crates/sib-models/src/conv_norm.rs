//! A convolution with batch normalisation behind it, which is one affine map in eval mode.

use sib_core::{Mode, Probe};
use tch::nn::Path;
use tch::{Kind, Tensor};

use crate::Precision;
use crate::block::Block;
use crate::layers::{BatchNorm2d, Conv2d};

/// A convolution and the normalisation of its output.
#[derive(Debug, Clone)]
pub(crate) struct ConvNorm {
    conv: Conv2d,
    /// `None` once it is folded into the convolution.
    norm: Option<BatchNorm2d>,
}

impl ConvNorm {
    /// The normalisation's variables lie under `norm`.
    pub(crate) fn new(conv: Conv2d, norm: &Path) -> Self {
        let norm = BatchNorm2d::new(norm, conv.out_channels());
        Self { conv, norm: Some(norm) }
    }

    pub(crate) fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let y = self.conv.forward(x);
        match &self.norm {
            Some(norm) => norm.forward(&y, mode),
            None => y,
        }
    }

    /// `relu(forward(x) + shortcut)`, in as few passes over memory as `probe` allows.
    pub(crate) fn forward_relu(
        &self,
        x: &Tensor,
        shortcut: Option<&Tensor>,
        mode: Mode,
        probe: &mut dyn Probe,
    ) -> Tensor {
        match &self.norm {
            Some(norm) => norm.forward_relu(&self.conv.forward(x), shortcut, mode, probe),
            None if probe.keeps_relu() => self.conv.forward_relu(x, shortcut),
            None => {
                let y = self.conv.forward(x);
                probe.relu(&shortcut.map_or(y.shallow_clone(), |shortcut| y + shortcut))
            }
        }
    }

    /// The same map in eval mode as a single convolution: with `a = γ / sqrt(σ² + ε)`, kernels `a·W`
    /// and bias `β − a·μ`. Computed in f64 and rounded once.
    pub(crate) fn folded(&self, precision: Precision) -> Self {
        let conv = match &self.norm {
            None => self.conv.frozen(precision),
            Some(norm) => {
                let (scale, shift) = norm.eval_affine();
                let weight = self.conv.weight();
                let folded = weight.to_kind(Kind::Double) * scale.reshape([-1, 1, 1, 1]);
                let kind = precision.of(weight.kind());
                self.conv.with(&folded.to_kind(kind), Some(shift.to_kind(kind).into()))
            }
        };
        Self { conv, norm: None }
    }
}

/// What ResNets and DenseNets begin with: convolution, normalisation, ReLU and 3×3 max-pooling, both of
/// stride 2.
#[derive(Debug, Clone)]
pub(crate) struct Stem(pub(crate) ConvNorm);

impl Stem {
    pub(crate) fn folded(&self, precision: Precision) -> Self {
        Self(self.0.folded(precision))
    }
}

impl Block for Stem {
    fn compute(&self, x: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        self.0.forward_relu(x, None, mode, probe).max_pool2d(3, 2, 1, 1, false)
    }
}
