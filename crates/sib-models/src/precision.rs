//! The numbers that a network computes with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sib_core::Error;
use tch::Kind;

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
