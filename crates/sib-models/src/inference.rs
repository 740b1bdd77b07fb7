//! The form of a network that only evaluates: faster, and equal up to round-off.

use sib_core::{Backbone, Mode, Probe};
use tch::Tensor;

use crate::{Model, Network, Precision};

/// A copy of `network` for eval mode: each batch normalisation that follows a convolution is
/// folded into it, and kernels are stored channels-last. ReLUs, taps and gradients with respect
/// to images are those of the network; its variables are not followed any more. Logits have the
/// kind of the images.
///
/// # Panics
/// The copy, when it is run in a mode other than [`Mode::Eval`].
pub fn inference_form(network: &dyn Network, precision: Precision) -> Box<dyn Backbone> {
    let rounded = (precision == Precision::BF16).then(|| network.folded(precision));
    Box::new(EvalOnly { exact: network.folded(Precision::F32), rounded })
}

/// A network whose normalisation is part of its convolutions.
#[derive(Debug)]
struct EvalOnly {
    exact: Box<dyn Backbone>,
    /// For passes that nobody looks into.
    rounded: Option<Box<dyn Backbone>>,
}

impl Backbone for EvalOnly {
    fn forward_probed(&self, images: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        assert_eq!(mode, Mode::Eval, "the inference form has no batch statistics");
        self.exact.forward_probed(images, mode, probe)
    }

    fn cam_layer(&self) -> Option<&str> {
        self.exact.cam_layer()
    }

    fn forward(&self, images: &Tensor, mode: Mode) -> Tensor {
        assert_eq!(mode, Mode::Eval, "the inference form has no batch statistics");
        match &self.rounded {
            Some(network) if !images.requires_grad() => {
                let rounded = images.to_kind(Precision::BF16.of(images.kind()));
                network.forward(&rounded, mode).to_kind(images.kind())
            }
            _ => self.exact.forward(images, mode),
        }
    }
}

impl Model {
    /// [`inference_form`] of the network.
    pub fn inference_form(&self, precision: Precision) -> Box<dyn Backbone> {
        inference_form(self.network.as_ref(), precision)
    }
}
