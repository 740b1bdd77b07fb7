//! Names of datasets and splits, as users write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::catalog::Description;
use crate::{Error, Result};

/// The datasets that [`open`](super::open) reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DatasetName {
    /// CIFAR-100, binary version.
    Cifar100,
    /// ImageNet (ILSVRC2012).
    ImageNet,
    /// Caltech-UCSD Birds-200-2011.
    Cub200,
    /// Oxford-IIIT Pet.
    Pets,
    /// Stanford Dogs.
    Dogs,
    /// One folder per split, one folder per class.
    Folder,
    /// Built in: textured objects on textured backgrounds, with exact masks.
    Synthetic,
}

impl DatasetName {
    /// All of them, in the order in which they are listed to users.
    pub const ALL: [Self; 7] = [
        Self::Cifar100,
        Self::ImageNet,
        Self::Cub200,
        Self::Pets,
        Self::Dogs,
        Self::Folder,
        Self::Synthetic,
    ];

    /// What the dataset is and where it comes from.
    pub fn description(self) -> Description {
        super::catalog::describe(self)
    }

    /// The name on the command line and in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cifar100 => "cifar100",
            Self::ImageNet => "imagenet",
            Self::Cub200 => "cub200",
            Self::Pets => "pets",
            Self::Dogs => "dogs",
            Self::Folder => "folder",
            Self::Synthetic => "synthetic",
        }
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DatasetName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            Error::invalid("data.name", format!("\"{name}\""), format!("one of {known}"))
        })
    }
}

impl TryFrom<String> for DatasetName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<DatasetName> for String {
    fn from(name: DatasetName) -> Self {
        name.as_str().to_owned()
    }
}

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
