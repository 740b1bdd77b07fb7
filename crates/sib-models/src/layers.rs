//! The layers that the networks share, with PyTorch's parameter names, layouts and default
//! initialisation. All of them can be differentiated twice.

use std::ops::Deref;

use sib_core::{Mode, Probe, tensor};
use tch::nn::Path;
use tch::{Device, Kind, Tensor};

use crate::Precision;

/// How a variable is drawn, from libtorch's global generator.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Init {
    /// All zero.
    Zeros,
    /// Normal with the given standard deviation.
    Normal(f64),
    /// PyTorch's default for weights and biases: uniform with variance `1 / (3·fan_in)`.
    Default,
    /// Normal with variance `2 / fan_in` (He et al. 2015, doi:10.1109/ICCV.2015.123).
    KaimingFanIn,
    /// Normal with variance `2 / fan_out`.
    KaimingFanOut,
    /// Uniform with variance `2 / (fan_in + fan_out)` (Glorot & Bengio 2010).
    Xavier,
}

impl Init {
    /// A new f32 tensor for a layer of the given fans.
    pub(crate) fn draw(
        self,
        shape: &[i64],
        (fan_in, fan_out): (i64, i64),
        device: Device,
    ) -> Tensor {
        let (fan_in, fan_out) = (fan_in as f64, fan_out as f64);
        let mut empty = Tensor::empty(shape, (Kind::Float, device));
        let mut uniform = |variance: f64| {
            let bound = (3.0 * variance).sqrt();
            empty.uniform_(-bound, bound)
        };
        match self {
            Self::Default => uniform(1.0 / (3.0 * fan_in)),
            Self::Xavier => uniform(2.0 / (fan_in + fan_out)),
            Self::Zeros => empty.zero_(),
            Self::Normal(std) => empty.normal_(0.0, std),
            Self::KaimingFanIn => empty.normal_(0.0, (2.0 / fan_in).sqrt()),
            Self::KaimingFanOut => empty.normal_(0.0, (2.0 / fan_out).sqrt()),
        }
    }
}

/// A tensor of a layer. A clone is the same variable.
#[derive(Debug)]
pub(crate) struct Variable(Tensor);

impl Clone for Variable {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl From<Tensor> for Variable {
    fn from(tensor: Tensor) -> Self {
        Self(tensor)
    }
}

impl Deref for Variable {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.0
    }
}

/// Convolution with a square kernel. The networks' own have no bias.
#[derive(Debug, Clone)]
pub(crate) struct Conv2d {
    weight: Variable,
    bias: Option<Variable>,
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
        let fans = (in_channels * kernel * kernel, out_channels * kernel * kernel);
        let shape = [out_channels, in_channels, kernel, kernel];
        // A convolution would otherwise rearrange them at each of its passes.
        let weight = tensor::for_convolutions(&init.draw(&shape, fans, path.device()));
        let weight = path.add("weight", weight, true);
        Self { weight: weight.into(), bias: None, stride, padding: kernel / 2 }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        match &self.bias {
            None => tensor::conv2d(x, &self.weight, self.stride, self.padding),
            Some(bias) => x.conv2d(&self.weight, Some(&**bias), self.stride, self.padding, 1, 1),
        }
    }

    /// `relu(forward(x) + shortcut)` of a layer with bias.
    pub(crate) fn forward_relu(&self, x: &Tensor, shortcut: Option<&Tensor>) -> Tensor {
        let bias = self.bias.as_ref().expect("a folded layer");
        tensor::conv2d_relu(x, &self.weight, bias, shortcut, self.stride, self.padding)
    }

    pub(crate) fn out_channels(&self) -> i64 {
        self.weight.size()[0]
    }

    /// Kernels `[out, in, side, side]`, without gradient.
    pub(crate) fn weight(&self) -> Tensor {
        self.weight.detach()
    }

    /// The same geometry with other kernels, whose channels come last in memory: libtorch's fastest
    /// layout on CPUs and GPUs, which the layer's output then takes on.
    pub(crate) fn with(&self, weight: &Tensor, bias: Option<Variable>) -> Self {
        let weight = weight.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        Self { weight: weight.into(), bias, ..*self }
    }

    /// A copy that does not follow training.
    pub(crate) fn frozen(&self, precision: Precision) -> Self {
        let bias = self.bias.as_ref().map(|bias| frozen(bias, precision));
        self.with(&frozen(&self.weight, precision), bias)
    }
}

/// Batch normalisation over `[B,H,W]` (Ioffe & Szegedy 2015, arXiv:1502.03167).
///
/// In train mode the running statistics move by [`Self::MOMENTUM`] towards the batch's mean and
/// unbiased variance, once per forward pass. Where `weight` is frozen (requires no gradient), train mode is
/// eval mode (decision G8).
#[derive(Debug, Clone)]
pub(crate) struct BatchNorm2d {
    weight: Variable,
    bias: Variable,
    running_mean: Variable,
    running_var: Variable,
    num_batches_tracked: Variable,
}

impl BatchNorm2d {
    const MOMENTUM: f64 = 0.1;
    const EPS: f64 = 1e-5;

    pub(crate) fn new(path: &Path, channels: i64) -> Self {
        let float = (Kind::Float, path.device());
        let count = Tensor::zeros([0; 0], (Kind::Int64, path.device()));
        Self {
            weight: path.add("weight", Tensor::ones(channels, float), true).into(),
            bias: path.add("bias", Tensor::zeros(channels, float), true).into(),
            running_mean: path.add("running_mean", Tensor::zeros(channels, float), false).into(),
            running_var: path.add("running_var", Tensor::ones(channels, float), false).into(),
            num_batches_tracked: path.add("num_batches_tracked", count, false).into(),
        }
    }

    fn variables(&self) -> [&Tensor; 4] {
        [&self.weight, &self.bias, &self.running_mean, &self.running_var]
    }

    /// How far the running statistics move; `None` where they are used instead of the batch's.
    fn momentum(&self, mode: Mode) -> Option<f64> {
        match mode {
            Mode::Eval => None,
            _ if !self.weight.requires_grad() => None,
            Mode::Train | Mode::TrainCheckpointed => {
                // The count only matters to other software: the momentum here is fixed.
                let _ = self.num_batches_tracked.shallow_clone().g_add_scalar_(1);
                Some(Self::MOMENTUM)
            }
            Mode::Recompute => Some(0.0),
        }
    }

    pub(crate) fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        match self.momentum(mode) {
            Some(momentum) => tensor::batch_norm_train(x, self.variables(), momentum, Self::EPS),
            None => tensor::batch_norm_eval(x, self.variables(), Self::EPS),
        }
    }

    /// `relu(forward(x) + shortcut)`; in fewer passes over memory, unless `probe` wants to see the
    /// ReLU.
    pub(crate) fn forward_relu(
        &self,
        x: &Tensor,
        shortcut: Option<&Tensor>,
        mode: Mode,
        probe: &mut dyn Probe,
    ) -> Tensor {
        let keeps_relu = probe.keeps_relu();
        if keeps_relu && mode == Mode::Eval && shortcut.is_none() {
            return tensor::batch_norm_eval_relu(x, self.variables(), Self::EPS);
        }
        if keeps_relu && let Some(momentum) = self.momentum(mode) {
            let variables = self.variables();
            return tensor::batch_norm_train_relu(x, shortcut, variables, momentum, Self::EPS);
        }
        let y = self.forward(x, mode);
        match shortcut {
            Some(shortcut) => probe.relu(&(y + shortcut)),
            None => probe.relu(&y),
        }
    }

    /// Scale and shift of each channel in eval mode, f64 `[C]`.
    pub(crate) fn eval_affine(&self) -> (Tensor, Tensor) {
        let [weight, bias, mean, var] =
            self.variables().map(|tensor| tensor.detach().to_kind(Kind::Double));
        let scale = weight / (var + Self::EPS).sqrt();
        let shift = bias - &scale * mean;
        (scale, shift)
    }

    /// A copy that does not follow training. Its variables keep their precision: libtorch
    /// normalises bf16 by f32.
    pub(crate) fn frozen(&self) -> Self {
        Self {
            weight: frozen(&self.weight, Precision::F32),
            bias: frozen(&self.bias, Precision::F32),
            running_mean: frozen(&self.running_mean, Precision::F32),
            running_var: frozen(&self.running_var, Precision::F32),
            num_batches_tracked: frozen(&self.num_batches_tracked, Precision::F32),
        }
    }
}

/// `x W^T + b`.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    weight: Variable,
    bias: Variable,
}

impl Linear {
    pub(crate) fn new(
        path: &Path,
        in_features: i64,
        out_features: i64,
        weight: Init,
        bias: Init,
    ) -> Self {
        let fans = (in_features, out_features);
        let weight = weight.draw(&[out_features, in_features], fans, path.device());
        let bias = bias.draw(&[out_features], fans, path.device());
        Self {
            weight: path.add("weight", weight, true).into(),
            bias: path.add("bias", bias, true).into(),
        }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&*self.bias))
    }

    /// Of the means of a feature map `[B,C,h,w]` over its pixels, which are taken in this layer's
    /// precision.
    pub(crate) fn forward_pooled(&self, x: &Tensor) -> Tensor {
        self.forward(&x.mean_dim([2_i64, 3].as_slice(), false, self.kind()))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.weight.kind()
    }

    /// A copy that does not follow training.
    pub(crate) fn frozen(&self, precision: Precision) -> Self {
        let [weight, bias] = [&self.weight, &self.bias].map(|x| frozen(x, precision));
        Self { weight, bias }
    }
}

/// Layer normalisation over the last dimension (Ba et al. 2016, arXiv:1607.06450).
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    weight: Variable,
    bias: Variable,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn new(path: &Path, features: i64, eps: f64) -> Self {
        let float = (Kind::Float, path.device());
        Self {
            weight: path.add("weight", Tensor::ones(features, float), true).into(),
            bias: path.add("bias", Tensor::zeros(features, float), true).into(),
            eps,
        }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&*self.weight), Some(&*self.bias), self.eps, true)
    }

    /// A copy that does not follow training.
    pub(crate) fn frozen(&self, precision: Precision) -> Self {
        let [weight, bias] = [&self.weight, &self.bias].map(|x| frozen(x, precision));
        Self { weight, bias, eps: self.eps }
    }
}

/// A copy of a variable, without gradient.
pub(crate) fn frozen(variable: &Tensor, precision: Precision) -> Variable {
    variable.detach().to_kind(precision.of(variable.kind())).copy().into()
}

/// Dropout with the given probability of zero (Srivastava et al. 2014), except in eval mode.
pub(crate) fn dropout(x: Tensor, probability: f64, mode: Mode) -> Tensor {
    if probability > 0.0 && mode != Mode::Eval { x.dropout(probability, true) } else { x }
}
