//! The form of a network that only evaluates: faster, and equal up to round-off.

use sib_core::{Backbone, Mode, Probe};
use tch::Tensor;

use crate::Model;

/// A network whose normalisation is part of its convolutions.
#[derive(Debug)]
struct EvalOnly(Box<dyn Backbone>);

impl Backbone for EvalOnly {
    fn forward_probed(&self, images: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        assert_eq!(mode, Mode::Eval, "the inference form has no batch statistics");
        self.0.forward_probed(images, mode, probe)
    }

    fn cam_layer(&self) -> &'static str {
        self.0.cam_layer()
    }
}

impl Model {
    /// A copy of the network for eval mode: each batch normalisation that follows a convolution is
    /// folded into it, and kernels are stored channels-last. ReLUs, taps and gradients with respect
    /// to images are those of the network; its variables are not followed any more.
    ///
    /// # Panics
    /// The copy, when it is run in [`Mode::Train`].
    pub fn inference_form(&self) -> Box<dyn Backbone> {
        Box::new(EvalOnly(self.network.inference_form()))
    }
}
