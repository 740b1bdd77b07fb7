//! Convolution.

use sib_core::Probe;
use sib_core::tensor::{self, ConvGeometry};
use tch::nn::Path;
use tch::{Kind, Tensor};

use super::init::{Init, Variable};
use crate::Precision;

/// What of a [`Conv2d`] is not usual.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvConfig {
    /// Pixels from one place of the kernel to the next.
    pub stride: i64,
    /// Pixels of zeros on each side; half the kernel where `None`, which keeps the size at stride 1.
    pub padding: Option<i64>,
    /// Parts that the channels are divided into, each convolved by itself.
    pub groups: i64,
    /// How the kernels are drawn.
    pub weight: Init,
    /// How the bias is drawn; `None` for none, as before a normalisation.
    pub bias: Option<Init>,
}

/// Stride 1, one group, PyTorch's kernels, no bias.
impl Default for ConvConfig {
    fn default() -> Self {
        Self { stride: 1, padding: None, groups: 1, weight: Init::Default, bias: None }
    }
}

/// Convolution with a square kernel; the variables are `weight` `[out, in/groups, side, side]` and `bias`
/// `[out]`.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Variable,
    bias: Option<Variable>,
    geometry: ConvGeometry,
}

impl Conv2d {
    /// New variables under `path`; `kernel` is the side in pixels.
    pub fn new(
        path: &Path,
        in_channels: i64,
        out_channels: i64,
        kernel: i64,
        config: ConvConfig,
    ) -> Self {
        let ConvConfig { stride, padding, groups, weight, bias } = config;
        let in_group = in_channels / groups;
        let fans = (in_group * kernel * kernel, out_channels * kernel * kernel);
        let shape = [out_channels, in_group, kernel, kernel];
        let weight = path.add("weight", weight.draw_kernels(&shape, fans, path.device()), true);
        let bias = bias.map(|bias| {
            path.add("bias", bias.draw(&[out_channels], fans, path.device()), true).into()
        });
        let padding = padding.unwrap_or(kernel / 2);
        Self { weight: weight.into(), bias, geometry: ConvGeometry { stride, padding, groups } }
    }

    /// `[B,in,H,W]` to `[B,out,h,w]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let bias = self.bias.as_ref().map(|bias| bias.like(x));
        tensor::conv2d(x, &self.weight.like(x), bias.as_ref(), self.geometry)
    }

    /// `relu(forward(x) + shortcut)`; in one pass over memory where there is a bias, unless `probe` wants
    /// to see the ReLU or derivatives are recorded.
    pub fn forward_relu(
        &self,
        x: &Tensor,
        shortcut: Option<&Tensor>,
        probe: &mut dyn Probe,
    ) -> Tensor {
        if let Some(bias) = &self.bias
            && probe.keeps_relu()
        {
            let (weight, bias) = (self.weight.like(x), bias.like(x));
            return tensor::conv2d_relu(x, &weight, &bias, shortcut, self.geometry);
        }
        let y = self.forward(x);
        probe.relu(&shortcut.map_or(y.shallow_clone(), |shortcut| y + shortcut))
    }

    /// Number of channels that it makes.
    pub fn out_channels(&self) -> i64 {
        self.weight.size()[0]
    }

    /// The same followed by `y·scale + shift`, both f64 `[out]`: one convolution, computed in f64 and
    /// rounded once, which does not follow training.
    pub(super) fn followed_by(&self, scale: &Tensor, shift: &Tensor, precision: Precision) -> Self {
        let double = |x: &Tensor| x.detach().to_kind(Kind::Double);
        let kernels = double(&self.weight) * scale.reshape([-1, 1, 1, 1]);
        let bias = match &self.bias {
            Some(bias) => shift + scale * double(bias),
            None => shift.shallow_clone(),
        };
        let kind = precision.of(self.weight.kind());
        self.with(&kernels.to_kind(kind), Some(bias.to_kind(kind).into()))
    }

    /// A copy that does not follow training.
    pub fn frozen(&self, precision: Precision) -> Self {
        let bias = self.bias.as_ref().map(|bias| bias.frozen(precision));
        self.with(&self.weight.frozen(precision), bias)
    }

    /// The same geometry with other kernels.
    fn with(&self, weight: &Tensor, bias: Option<Variable>) -> Self {
        Self { weight: tensor::for_convolutions(weight).into(), bias, ..*self }
    }
}
