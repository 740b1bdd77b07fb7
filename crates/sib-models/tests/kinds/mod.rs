//! What the tests of every kind of network share.

use sib_models::Arch;

/// One network of each kind.
pub(crate) const KINDS: [Arch; 7] = [
    Arch::ResNet18,
    Arch::ResNet50,
    Arch::ResNeXt50,
    Arch::DenseNet121,
    Arch::Vgg16,
    Arch::Vgg16Bn,
    Arch::VitB32,
];
