//! The parts of a network that activation checkpointing works on.

use sib_core::recompute::{self, recomputed};
use sib_core::{Mode, Probe};
use tch::Tensor;

/// A map from a tensor to a tensor, whose clone computes with the same variables.
pub trait Block: Clone + Send + 'static {
    /// The map itself.
    fn compute(&self, x: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor;

    /// The map as a network calls it: in train mode, where blocks are [recomputed](recompute), only `x` is
    /// kept, and `probe` sees nothing of it.
    fn forward(&self, x: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        if mode == Mode::Eval || !recompute::is_on() {
            return self.compute(x, mode, probe);
        }
        let block = self.clone();
        recomputed(x, move |x| block.compute(x, mode, &mut ()))
    }
}
