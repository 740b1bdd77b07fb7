//! The numbers that a network is trained in (decision N8).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{Backbone, Error, Mode, Probe, Result, native};

/// What convolutions and matrix products of a network in training compute with.
///
/// Variables, their gradients and the optimizer, statistics of normalisations, logits, the posterior, R, the mask
/// and the losses are f32 or more in each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As the variables are, f32 where nobody converted them.
    #[default]
    F32,
    /// Operands rounded to 10 bits behind the point, sums in f32: NVIDIA's GPUs since Ampere do this many times faster.
    /// Older ones compute in f32 then.
    Tf32,
    /// Activations and operands in bfloat16, 7 bits behind the point, sums in f32. The layers have to take images of
    /// bfloat16 by variables of f32, as those of `sib-models` do.
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = [Self::F32, Self::Tf32, Self::Bf16];
        let named = known.into_iter().find(|precision| precision.to_string() == name);
        named.ok_or_else(|| Error::invalid("precision", format!("\"{name}\""), "f32, tf32 or bf16"))
    }
}

impl Precision {
    /// Checks that `device` has it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for TF32 on a CPU.
    pub fn validate(self, device: Device) -> Result<()> {
        if self == Self::Tf32 && !device.is_cuda() {
            return Err(Error::invalid("precision", self, "f32 or bf16: GPUs alone have tf32"));
        }
        Ok(())
    }

    /// Logits `[B,K]` of `images` `[B,3,H,W]` by `net` in train mode, in the images' kind, with `probe` at every tap.
    pub fn forward(self, net: &dyn Backbone, images: &Tensor, probe: &mut dyn Probe) -> Tensor {
        match self {
            Self::F32 | Self::Tf32 => net.forward_probed(images, Mode::Train, probe),
            Self::Bf16 => {
                let rounded = images.to_kind(Kind::BFloat16);
                net.forward_probed(&rounded, Mode::Train, probe).to_kind(images.kind())
            }
        }
    }

    /// Rounds operands on GPUs, where that is what this asks for, until the returned guard is dropped: forward passes
    /// and derivatives, on all threads.
    pub fn in_force(self) -> InForce {
        if self == Self::Tf32 {
            native::round_operands(true);
        }
        InForce(self)
    }
}

/// See [`Precision::in_force`].
#[derive(Debug)]
#[must_use]
pub struct InForce(Precision);

impl Drop for InForce {
    fn drop(&mut self) {
        if self.0 == Precision::Tf32 {
            native::round_operands(false);
        }
    }
}
