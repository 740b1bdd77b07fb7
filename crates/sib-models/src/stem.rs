//! What ResNets and DenseNets begin with.

use sib_core::{Mode, Probe};
use tch::Tensor;

use crate::Precision;
use crate::layers::{Block, ConvNorm};

/// Convolution, normalisation, ReLU and 3×3 max-pooling, both of stride 2.
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
