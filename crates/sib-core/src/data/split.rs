//! Parts of a dataset.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Split {
    /// The images to train on: `train`, or `trainval` where the benchmark calls it so.
    Train,
    /// The images to evaluate on: `test`, or `val` where the benchmark keeps its test labels.
    Test,
    /// Images to choose a network by, where there are some besides the other two.
    Validation,
}

impl Split {
    /// `train`, `test` or `val`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Validation => "val",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(split: &str) -> Result<Self> {
        match split {
            "train" | "trainval" => Ok(Self::Train),
            "test" => Ok(Self::Test),
            "val" | "valid" | "validation" => Ok(Self::Validation),
            _ => Err(Error::invalid("split", format!("\"{split}\""), "train, test or val")),
        }
    }
}

impl TryFrom<String> for Split {
    type Error = Error;

    fn try_from(split: String) -> Result<Self> {
        split.parse()
    }
}

impl From<Split> for String {
    fn from(split: Split) -> Self {
        split.as_str().to_owned()
    }
}
