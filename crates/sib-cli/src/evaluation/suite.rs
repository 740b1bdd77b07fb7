//! The suites by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sib_core::Error;

/// A group of metrics that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// Top-1 and top-5.
    Accuracy,
    /// Heatmaps against masks and boxes of the object.
    Localization,
    /// Insertion and deletion of pixels in the order of the heatmaps.
    Faithfulness,
    /// What the regions of R tell of the regions of the image.
    Information,
    /// Whether heatmaps change when the network's last layers are initialised anew.
    Sanity,
}

impl Suite {
    /// All of them, in the order in which they are listed and have their columns.
    pub const ALL: [Self; 5] =
        [Self::Accuracy, Self::Localization, Self::Faithfulness, Self::Information, Self::Sanity];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Localization => "localization",
            Self::Faithfulness => "faithfulness",
            Self::Information => "information",
            Self::Sanity => "sanity",
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Suite {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|suite| suite.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::invalid("suite", format!("\"{name}\""), format!("one of {known}"))
        })
    }
}
