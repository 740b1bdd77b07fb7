//! The architectures by name, and what must be known of each before it is built.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sib_core::{Backbone, Error, Result};
use tch::nn;

use crate::Precision;
use crate::densenet::DenseNet;
use crate::model::ModelOptions;
use crate::resnet::{BlockKind, ResNet};
use crate::vit::VisionTransformer;

/// A network architecture. Names in text, configuration and checkpoints are torchvision's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Arch {
    /// ResNet-18 (He et al. 2016, doi:10.1109/CVPR.2016.90).
    ResNet18,
    /// ResNet-50, with the stride on the 3×3 convolution.
    ResNet50,
    /// DenseNet-121 (Huang et al. 2017, doi:10.1109/CVPR.2017.243).
    DenseNet121,
    /// Vision transformer, base size, 32×32 px patches (Dosovitskiy et al. 2021,
    /// arXiv:2010.11929).
    VitB32,
}

/// What this crate asks of a network besides [`Backbone`].
pub(crate) trait Network: Backbone {
    /// A copy in the form that [`Model::inference_form`](crate::Model::inference_form) describes.
    fn inference_form(&self, precision: Precision) -> Box<dyn Backbone>;
}

impl Arch {
    /// All architectures.
    pub const ALL: [Self; 4] = [Self::ResNet18, Self::ResNet50, Self::DenseNet121, Self::VitB32];

    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResNet18 => "resnet18",
            Self::ResNet50 => "resnet50",
            Self::DenseNet121 => "densenet121",
            Self::VitB32 => "vit_b_32",
        }
    }

    /// Names of the feature maps that a [`Probe`](sib_core::Probe) sees, in the order of the
    /// forward pass. Each is the output of torchvision's module of that name, except DenseNet's
    /// `features.relu5`, the ReLU after `features.norm5`, which is no module there; in ViT it is
    /// the patch tokens of that output as a map `[B,C,h,w]`.
    pub fn taps(self) -> &'static [&'static str] {
        match self {
            Self::ResNet18 | Self::ResNet50 => crate::resnet::TAPS,
            Self::DenseNet121 => crate::densenet::TAPS,
            Self::VitB32 => crate::vit::TAPS,
        }
    }

    /// Checks the size of input images.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the architecture cannot take images of this size.
    pub fn check_image_size(self, height_px: i64, width_px: i64) -> Result<()> {
        let (smallest, multiple) = match self {
            Self::ResNet18 | Self::ResNet50 => (1, 1),
            // Five halvings; the first two round up, the last three down.
            Self::DenseNet121 => (29, 1),
            Self::VitB32 => (crate::vit::PATCH_PX, crate::vit::PATCH_PX),
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

    /// Prefixes of the last stage's tensors in the state dict: all between the stage before it and
    /// the final linear layer.
    pub fn last_stage(self) -> &'static [&'static str] {
        match self {
            Self::ResNet18 | Self::ResNet50 => &["layer4"],
            Self::DenseNet121 => &["features.denseblock4", "features.norm5"],
            Self::VitB32 => &["encoder.layers.encoder_layer_11", "encoder.ln"],
        }
    }

    /// Prefix of the final linear layer's `weight` and `bias` in the state dict.
    pub fn head(self) -> &'static str {
        match self {
            Self::ResNet18 | Self::ResNet50 => "fc",
            Self::DenseNet121 => "classifier",
            Self::VitB32 => "heads.head",
        }
    }

    /// The network, its variables freshly initialised under `path`.
    pub(crate) fn build(
        self,
        path: &nn::Path,
        num_classes: i64,
        options: &ModelOptions,
    ) -> Result<Box<dyn Network>> {
        options.check(self)?;
        Ok(match self {
            Self::ResNet18 => {
                Box::new(ResNet::new(path, BlockKind::Basic, [2, 2, 2, 2], num_classes))
            }
            Self::ResNet50 => {
                Box::new(ResNet::new(path, BlockKind::Bottleneck, [3, 4, 6, 3], num_classes))
            }
            Self::DenseNet121 => Box::new(DenseNet::new(path, num_classes, options.dropout)),
            Self::VitB32 => Box::new(VisionTransformer::new(path, num_classes, options)),
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
