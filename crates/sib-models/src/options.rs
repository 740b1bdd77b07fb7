//! What of a network is not in its state dict.

use serde::{Deserialize, Serialize};

/// Options of the networks that do not change their state dict; active in train mode only. The default is
/// no dropout, [`Arch::options`](crate::Arch::options) are torchvision's.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelOptions {
    /// Probability of dropping a value: of each dense layer's output in DenseNet; of what enters the
    /// last two linear layers in VGG; of the position embedding's, attention's and multi-layer perceptron's
    /// outputs in ViT. ResNets have none.
    pub dropout: f64,
    /// Probability of dropping an attention weight in ViT.
    pub attention_dropout: f64,
}
