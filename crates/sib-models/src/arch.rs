//! The architectures by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sib_core::{Error, Result};

use crate::ModelOptions;
use crate::spec::Spec;
use crate::{densenet, resnet, vgg, vit};

/// The index: a line an architecture, its variant and its entry beside its code.
macro_rules! index {
    ($($variant:ident = $spec:path,)*) => {
        /// A network architecture. Names in text, configuration and checkpoints are torchvision's.
        ///
        /// - ResNets (He et al. 2016, doi:10.1109/CVPR.2016.90), with the stride on the 3×3 convolution, also
        ///   wide (Zagoruyko & Komodakis 2016, arXiv:1605.07146) and aggregated (Xie et al. 2017,
        ///   doi:10.1109/CVPR.2017.634).
        /// - DenseNets (Huang et al. 2017, doi:10.1109/CVPR.2017.243).
        /// - VGG (Simonyan & Zisserman 2015, arXiv:1409.1556), without and with batch normalisation.
        /// - Vision transformers (Dosovitskiy et al. 2021, arXiv:2010.11929).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum Arch {
            $(
                #[doc = concat!("The entry `", stringify!($spec), "`.")]
                $variant,
            )*
        }

        impl Arch {
            /// All architectures, families together.
            pub const ALL: [Self; [$(stringify!($variant)),*].len()] = [$(Self::$variant),*];

            /// What is known of it.
            pub(crate) fn spec(self) -> &'static Spec {
                match self {
                    $(Self::$variant => &$spec,)*
                }
            }
        }
    };
}

index! {
    ResNet18 = resnet::RESNET18,
    ResNet34 = resnet::RESNET34,
    ResNet50 = resnet::RESNET50,
    ResNet101 = resnet::RESNET101,
    ResNet152 = resnet::RESNET152,
    WideResNet50x2 = resnet::WIDE_RESNET50_2,
    ResNeXt50 = resnet::RESNEXT50_32X4D,
    DenseNet121 = densenet::DENSENET121,
    DenseNet161 = densenet::DENSENET161,
    DenseNet169 = densenet::DENSENET169,
    DenseNet201 = densenet::DENSENET201,
    Vgg16 = vgg::VGG16,
    Vgg16Bn = vgg::VGG16_BN,
    VitB16 = vit::VIT_B_16,
    VitB32 = vit::VIT_B_32,
    VitL16 = vit::VIT_L_16,
    VitL32 = vit::VIT_L_32,
}

impl Arch {
    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The name in tables and figures.
    pub fn title(self) -> &'static str {
        self.spec().title
    }

    /// The names of all architectures, with commas between them.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Names of the feature maps that a [`Probe`](sib_core::Probe) sees, in the order of the
    /// forward pass. Each is the output of torchvision's module of that name, except DenseNet's
    /// `features.relu5`, the ReLU after `features.norm5`, which is no module there; in ViT it is
    /// the patch tokens of that output as a map `[B,C,h,w]`.
    pub fn taps(self) -> &'static [&'static str] {
        self.spec().taps
    }

    /// The tap of this name, or, by the names of residual networks, `layer1` to `layer4`: the end of one of four stages.
    /// They are as large in every network whose maps shrink; transformers have them after a quarter of the blocks, a
    /// half, three quarters, and before the last.
    pub fn tap(self, name: &str) -> Option<&'static str> {
        let Spec { taps, stages, .. } = self.spec();
        let stage = name.strip_prefix("layer").and_then(|number| number.parse::<usize>().ok());
        let stage = stage.and_then(|number| stages.get(number.checked_sub(1)?));
        taps.iter().find(|tap| **tap == name).or(stage).copied()
    }

    /// The tap that is averaged over its places at once, where there is one: what follows tells no place from another.
    pub fn averaged_tap(self) -> Option<&'static str> {
        self.spec().averaged
    }

    /// Checks the size of input images.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the architecture cannot take images of this size.
    pub fn check_image_size(self, height_px: i64, width_px: i64) -> Result<()> {
        self.spec().sides.check(height_px, width_px, self.name())
    }

    /// The options that torchvision builds it with.
    pub fn options(self) -> ModelOptions {
        let Spec { dropout, attention_dropout, .. } = self.spec();
        ModelOptions {
            dropout: dropout.unwrap_or_default(),
            attention_dropout: attention_dropout.unwrap_or_default(),
        }
    }

    /// Prefixes of the last stage's tensors in the state dict: all between the stage before it and
    /// the final linear layer.
    pub fn last_stage(self) -> &'static [&'static str] {
        self.spec().last_stage
    }

    /// Prefix of the final linear layer's `weight` and `bias` in the state dict.
    pub fn head(self) -> &'static str {
        self.spec().head
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
            let expected = format!("one of {}", Self::names());
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
