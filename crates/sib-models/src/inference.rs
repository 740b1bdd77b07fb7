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
    /// bfloat16: 8 significant bits. For forward passes; R underflows.
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

/// A network whose normalisation is part of its convolutions.
#[derive(Debug)]
struct EvalOnly {
    network: Box<dyn Backbone>,
    precision: Precision,
}

impl Backbone for EvalOnly {
    fn forward_probed(&self, images: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        assert_eq!(mode, Mode::Eval, "the inference form has no batch statistics");
        let kind = images.kind();
        let logits =
            self.network.forward_probed(&images.to_kind(self.precision.of(kind)), mode, probe);
        logits.to_kind(kind)
    }

    fn cam_layer(&self) -> &'static str {
        self.network.cam_layer()
    }
}

impl Model {
    /// A copy of the network for eval mode: each batch normalisation that follows a convolution is
    /// folded into it, and kernels are stored channels-last. ReLUs, taps and gradients with respect
    /// to images are those of the network; its variables are not followed any more. Logits have the
    /// kind of the images; the maps at taps that of `precision`.
    ///
    /// # Panics
    /// The copy, when it is run in [`Mode::Train`].
    pub fn inference_form(&self, precision: Precision) -> Box<dyn Backbone> {
        Box::new(EvalOnly { network: self.network.inference_form(precision), precision })
    }
}
