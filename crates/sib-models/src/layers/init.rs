//! How variables begin.

use std::cell::Cell;
use std::ops::Deref;

use sib_core::tensor;
use tch::{Device, Kind, Tensor};

use crate::Precision;

/// How a variable is drawn, from libtorch's global generator (`tch::manual_seed`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
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

thread_local! {
    static SHAPES_ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `build`, whose variables have shapes but neither values of their own nor memory: a network of
/// them can be looked at, not run.
pub(crate) fn shapes_alone<T>(build: impl FnOnce() -> T) -> T {
    SHAPES_ALONE.set(true);
    let built = build();
    SHAPES_ALONE.set(false);
    built
}

impl Init {
    /// A new f32 tensor for a layer of the given fans.
    pub(crate) fn draw(
        self,
        shape: &[i64],
        (fan_in, fan_out): (i64, i64),
        device: Device,
    ) -> Tensor {
        if SHAPES_ALONE.get() {
            return Tensor::zeros([0_i64; 0], (Kind::Float, device)).expand(shape, false);
        }
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

    /// New f32 kernels `[out, in, side, side]`, laid out for convolutions, which would otherwise rearrange
    /// them at each of their passes.
    pub(crate) fn draw_kernels(self, shape: &[i64], fans: (i64, i64), device: Device) -> Tensor {
        let kernels = self.draw(shape, fans, device);
        if SHAPES_ALONE.get() { kernels } else { tensor::for_convolutions(&kernels) }
    }
}

/// A tensor of a layer. A clone is the same variable.
#[derive(Debug)]
pub(crate) struct Variable(Tensor);

impl Variable {
    /// In the kind of `x`: a layer computes with the kind of numbers that it is given, whatever its variables are
    /// kept in.
    pub(crate) fn like(&self, x: &Tensor) -> Tensor {
        self.0.to_kind(x.kind())
    }

    /// A copy without gradient, which does not follow training.
    pub(crate) fn frozen(&self, precision: Precision) -> Self {
        Self(self.0.detach().to_kind(precision.of(self.0.kind())).copy())
    }
}

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
