//! The layers that the networks share, with PyTorch's parameter names, layouts and default
//! initialisation. All of them can be differentiated twice.

use sib_core::Mode;
use tch::nn::Path;
use tch::{Device, Kind, Tensor};

/// How the weights of a convolution or linear layer are drawn, from libtorch's global generator.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Init {
    /// PyTorch's default: uniform with variance `1 / (3·fan_in)`.
    Default,
    /// Normal with variance `2 / fan_in` (He et al. 2015, doi:10.1109/ICCV.2015.123).
    KaimingFanIn,
    /// Normal with variance `2 / fan_out`.
    KaimingFanOut,
}

impl Init {
    /// A new weight `[out, in, ...]`.
    fn draw(self, shape: &[i64], device: Device) -> Tensor {
        let receptive: i64 = shape[2..].iter().product();
        let (fan_in, fan_out) = ((shape[1] * receptive) as f64, (shape[0] * receptive) as f64);
        let uniform = |bound: f64| empty(shape, device).uniform_(-bound, bound);
        let normal = |std: f64| empty(shape, device).normal_(0.0, std);
        match self {
            Self::Default => uniform(fan_in.recip().sqrt()),
            Self::KaimingFanIn => normal((2.0 / fan_in).sqrt()),
            Self::KaimingFanOut => normal((2.0 / fan_out).sqrt()),
        }
    }
}

/// Uninitialised f32.
fn empty(shape: &[i64], device: Device) -> Tensor {
    Tensor::empty(shape, (Kind::Float, device))
}

/// Convolution with a square kernel and no bias.
#[derive(Debug)]
pub(crate) struct Conv2d {
    weight: Tensor,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    /// `kernel` is the side in pixels; the padding keeps the size at stride 1.
    pub(crate) fn new(
        path: &Path,
        in_channels: i64,
        out_channels: i64,
        kernel: i64,
        stride: i64,
        init: Init,
    ) -> Self {
        let weight = init.draw(&[out_channels, in_channels, kernel, kernel], path.device());
        Self { weight: path.add("weight", weight, true), stride, padding: kernel / 2 }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x.conv2d(&self.weight, None::<Tensor>, self.stride, self.padding, 1, 1)
    }
}

/// Batch normalisation over `[B,H,W]` (Ioffe & Szegedy 2015, arXiv:1502.03167).
///
/// In train mode the running statistics move by [`Self::MOMENTUM`] towards the batch's mean and
/// unbiased variance, once per forward pass.
#[derive(Debug)]
pub(crate) struct BatchNorm2d {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    num_batches_tracked: Tensor,
}

impl BatchNorm2d {
    const MOMENTUM: f64 = 0.1;
    const EPS: f64 = 1e-5;

    pub(crate) fn new(path: &Path, channels: i64) -> Self {
        let float = (Kind::Float, path.device());
        Self {
            weight: path.add("weight", Tensor::ones(channels, float), true),
            bias: path.add("bias", Tensor::zeros(channels, float), true),
            running_mean: path.add("running_mean", Tensor::zeros(channels, float), false),
            running_var: path.add("running_var", Tensor::ones(channels, float), false),
            num_batches_tracked: path.add(
                "num_batches_tracked",
                Tensor::zeros([0; 0], (Kind::Int64, path.device())),
                false,
            ),
        }
    }

    pub(crate) fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let train = mode == Mode::Train;
        if train {
            // The count only matters to other software: the momentum here is fixed.
            let _ = self.num_batches_tracked.shallow_clone().g_add_scalar_(1);
        }
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            train,
            Self::MOMENTUM,
            Self::EPS,
            true,
        )
    }
}

/// `x W^T + b`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// The bias drawn as PyTorch's default: uniform with variance `1 / (3·in_features)`.
    pub(crate) fn new(path: &Path, in_features: i64, out_features: i64) -> Self {
        let weight = Init::Default.draw(&[out_features, in_features], path.device());
        let bound = (in_features as f64).recip().sqrt();
        let bias = empty(&[out_features], path.device()).uniform_(-bound, bound);
        Self { weight: path.add("weight", weight, true), bias: path.add("bias", bias, true) }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}
