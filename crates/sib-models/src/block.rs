//! The parts of a network that activation checkpointing works on.

use sib_core::tensor::recomputed;
use sib_core::{Mode, Probe};
use tch::Tensor;

/// A map from a tensor to a tensor, whose clone computes with the same variables.
pub(crate) trait Block: Clone + Send + 'static {
    /// The map itself, in any mode but [`Mode::TrainCheckpointed`].
    fn compute(&self, x: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor;

    /// The map in any mode.
    fn forward(&self, x: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        if mode != Mode::TrainCheckpointed {
            return self.compute(x, mode, probe);
        }
        let block = self.clone();
        recomputed(x, move |x, mode| block.compute(x, mode, &mut ()))
    }
}
