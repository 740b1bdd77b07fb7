//! The architectures by name, and what must be known of each before it is built.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sib_core::{Backbone, Error, Result};
use tch::nn;

use crate::model::ModelOptions;
use crate::resnet::{Block, ResNet};

/// A network architecture. Names in text, configuration and checkpoints are torchvision's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Arch {
    /// ResNet-18 (He et al. 2016, doi:10.1109/CVPR.2016.90).
    ResNet18,
    /// ResNet-50, with the stride on the 3×3 convolution.
    ResNet50,
}

impl Arch {
    /// All architectures.
    pub const ALL: [Self; 2] = [Self::ResNet18, Self::ResNet50];

    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResNet18 => "resnet18",
            Self::ResNet50 => "resnet50",
        }
    }

    /// Names of the feature maps that a [`Probe`](sib_core::Probe) sees, in the order of the
    /// forward pass. Each is the output of torchvision's module of that name.
    pub fn taps(self) -> &'static [&'static str] {
        match self {
            Self::ResNet18 | Self::ResNet50 => crate::resnet::TAPS,
        }
    }

    /// Whether the network has batch normalisation, so that train mode needs more than one image.
    pub fn has_batch_norm(self) -> bool {
        match self {
            Self::ResNet18 | Self::ResNet50 => true,
        }
    }

    /// Checks the size of input images.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the architecture cannot take images of this size.
    pub fn check_image_size(self, height_px: i64, width_px: i64) -> Result<()> {
        let (smallest, multiple) = match self {
            Self::ResNet18 | Self::ResNet50 => (1, 1),
        };
        let fits = |side: i64| side >= smallest && side % multiple == 0;
        if fits(height_px) && fits(width_px) {
            return Ok(());
        }
        let expected = if multiple > 1 {
            format!("multiples of {multiple} px for {self}")
        } else {
            format!("at least {smallest}x{smallest} px for {self}")
        };
        Err(Error::invalid("image size", format_args!("{height_px}x{width_px} px"), expected))
    }

    /// Prefix of the final linear layer's `weight` and `bias` in the state dict.
    pub(crate) fn head(self) -> &'static str {
        match self {
            Self::ResNet18 | Self::ResNet50 => "fc",
        }
    }

    /// The network, its variables freshly initialised under `path`.
    pub(crate) fn build(
        self,
        path: &nn::Path,
        num_classes: i64,
        options: &ModelOptions,
    ) -> Result<Box<dyn Backbone>> {
        options.check(self)?;
        Ok(match self {
            Self::ResNet18 => Box::new(ResNet::new(path, Block::Basic, [2, 2, 2, 2], num_classes)),
            Self::ResNet50 => {
                Box::new(ResNet::new(path, Block::Bottleneck, [3, 4, 6, 3], num_classes))
            }
        })
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Arch {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|arch| arch.name() == name).ok_or_else(|| {
            let expected = format!("one of {}", Self::ALL.map(Self::name).join(", "));
            Error::invalid("arch", format_args!("{name:?}"), expected)
        })
    }
}

impl TryFrom<String> for Arch {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<Arch> for String {
    fn from(arch: Arch) -> Self {
        arch.name().to_owned()
    }
}
