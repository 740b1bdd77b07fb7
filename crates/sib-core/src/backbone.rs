//! What training, explainers and metrics need to know of a network: no more than these two traits.

use std::fmt::Debug;

use tch::Tensor;

/// Whether normalisation uses the batch's statistics and stochastic layers are active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics (running statistics are updated), dropout active.
    Train,
    /// Running statistics, dropout off.
    Eval,
}

/// Sees, and may replace, activations during a forward pass: tch's stand-in for PyTorch's hooks.
pub trait Probe {
    /// Every ReLU of the network goes through here, in the order of the forward pass.
    fn relu(&mut self, x: &Tensor) -> Tensor {
        x.relu()
    }

    /// Whether [`Self::relu`] is the plain ReLU: a network may then compute it along with what comes
    /// before, and not call it.
    fn keeps_relu(&self) -> bool {
        false
    }

    /// Whether [`Self::tap`] has a use for this layer's feature map: where making one takes a copy, a network may
    /// ask first, and not call it.
    fn looks_at(&mut self, layer: &str) -> bool {
        let _ = layer;
        true
    }

    /// Called with each named feature map `[B,C,h,w]`; what it returns flows on.
    fn tap(&mut self, layer: &str, x: Tensor) -> Tensor {
        let _ = layer;
        x
    }
}

/// The ordinary forward pass.
impl Probe for () {
    fn keeps_relu(&self) -> bool {
        true
    }

    fn looks_at(&mut self, _: &str) -> bool {
        false
    }
}

/// An image classifier.
pub trait Backbone: Debug + Send {
    /// Logits `[B,K]` of normalised `images` `[B,3,H,W]`, with `probe` at every ReLU and tap.
    fn forward_probed(&self, images: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor;

    /// The tap that class-activation maps read when none is named; without one they ask for a name.
    fn cam_layer(&self) -> Option<&str> {
        None
    }

    /// Logits `[B,K]` of normalised `images` `[B,3,H,W]`.
    fn forward(&self, images: &Tensor, mode: Mode) -> Tensor {
        self.forward_probed(images, mode, &mut ())
    }
}
