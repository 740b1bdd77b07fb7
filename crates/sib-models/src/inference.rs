//! The form of a network that only evaluates: faster, and equal up to round-off.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sib_core::{Backbone, Error, Mode, Probe};
use tch::{Kind, Tensor};

use crate::Model;

/// The numbers that a network in its inference form computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As its variables are, f32 where nobody converted them.
    #[default]
    F32,
    /// bfloat16, 8 significant bits, for plain forward passes up to the head: what a probe sees and
    /// gradients are as in `F32`, since R underflows and maps lose the order of their pixels.
    BF16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::F32, Self::BF16];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::BF16 => "bf16",
        }
    }

    /// The kind of a variable of kind `kind`.
    pub(crate) fn of(self, kind: Kind) -> Kind {
        match self {
            Self::BF16 if kind != Kind::Int64 => Kind::BFloat16,
            _ => kind,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|precision| precision.name() == name);
        known.ok_or_else(|| Error::invalid("precision", format!("\"{name}\""), "f32 or bf16"))
    }
}

/// A network that can be copied to a form for eval mode alone.
pub trait Network: Backbone {
    /// The copy, which does not follow training: normalisation that follows a convolution is folded into
    /// it, and all before the head computes in `precision`.
    fn folded(&self, precision: Precision) -> Box<dyn Backbone>;
}

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
