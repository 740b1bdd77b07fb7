//! Batch normalisation.

use sib_core::{Mode, Probe, recompute, tensor};
use tch::nn::Path;
use tch::{Kind, Tensor};

use super::init::Variable;
use crate::Precision;

/// Batch normalisation over `[B,H,W]` (Ioffe & Szegedy 2015, arXiv:1502.03167); the variables are `weight`,
/// `bias`, `running_mean`, `running_var` `[C]` and `num_batches_tracked`.
///
/// In train mode the running statistics move by a tenth towards the batch's mean and unbiased variance,
/// once per forward pass. Where `weight` is frozen (requires no gradient), train mode is eval mode (decision
/// G8).
#[derive(Debug, Clone)]
pub struct BatchNorm2d {
    weight: Variable,
    bias: Variable,
    running_mean: Variable,
    running_var: Variable,
    num_batches_tracked: Variable,
}

impl BatchNorm2d {
    const MOMENTUM: f64 = 0.1;
    const EPS: f64 = 1e-5;

    /// New variables under `path`: the identity, but for the normalisation.
    pub fn new(path: &Path, channels: i64) -> Self {
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
            Mode::Train if !self.weight.requires_grad() => None,
            Mode::Train if recompute::is_again() => Some(0.0),
            Mode::Train => {
                // The count only matters to other software: the momentum here is fixed.
                let _ = self.num_batches_tracked.shallow_clone().g_add_scalar_(1);
                Some(Self::MOMENTUM)
            }
        }
    }

    /// `[B,C,H,W]` to `[B,C,H,W]`.
    ///
    /// # Panics
    /// In train mode with fewer than two values a channel.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        match self.momentum(mode) {
            Some(momentum) => tensor::batch_norm_train(x, self.variables(), momentum, Self::EPS),
            None => tensor::batch_norm_eval(x, self.variables(), Self::EPS),
        }
    }

    /// `relu(forward(x) + shortcut)`; in fewer passes over memory, unless `probe` wants to see the
    /// ReLU.
    ///
    /// # Panics
    /// In train mode with fewer than two values a channel.
    pub fn forward_relu(
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
    pub(super) fn eval_affine(&self) -> (Tensor, Tensor) {
        let [weight, bias, mean, var] =
            self.variables().map(|tensor| tensor.detach().to_kind(Kind::Double));
        let scale = weight / (var + Self::EPS).sqrt();
        let shift = bias - &scale * mean;
        (scale, shift)
    }

    /// A copy that does not follow training. Its variables keep their precision: libtorch
    /// normalises bf16 by f32.
    pub fn frozen(&self) -> Self {
        let frozen = |variable: &Variable| variable.frozen(Precision::F32);
        Self {
            weight: frozen(&self.weight),
            bias: frozen(&self.bias),
            running_mean: frozen(&self.running_mean),
            running_var: frozen(&self.running_var),
            num_batches_tracked: frozen(&self.num_batches_tracked),
        }
    }
}
