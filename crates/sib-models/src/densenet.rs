//! DenseNet-121 (Huang et al. 2017, doi:10.1109/CVPR.2017.243), as torchvision builds it.

use sib_core::{Backbone, Mode, Probe};
use tch::Tensor;
use tch::nn::Path;

use crate::Precision;
use crate::arch::Network;
use crate::block::Block;
use crate::conv_norm::{ConvNorm, Stem};
use crate::layers::{BatchNorm2d, Conv2d, Init, Linear, dropout};

/// Taps in the order of the forward pass.
pub(crate) const TAPS: &[&str] = &[
    "features.pool0",
    "features.denseblock1",
    "features.denseblock2",
    "features.denseblock3",
    "features.denseblock4",
    "features.norm5",
    "features.relu5",
];

/// Dense layers in each block.
const DEPTHS: [usize; 4] = [6, 12, 24, 16];
/// Channels that each dense layer adds.
const GROWTH: i64 = 32;
/// Channels between the two convolutions of a dense layer.
const BOTTLENECK: i64 = 4 * GROWTH;
/// Channels of the stem.
const STEM: i64 = 64;

/// Adds [`GROWTH`] channels to its input: norm, ReLU, 1×1 convolution, norm, ReLU, 3×3 convolution.
#[derive(Debug, Clone)]
struct DenseLayer {
    norm1: BatchNorm2d,
    reduce: ConvNorm,
    conv2: Conv2d,
}

impl DenseLayer {
    fn new(path: &Path, in_channels: i64) -> Self {
        let conv1 = conv_layer(&(path / "conv1"), in_channels, BOTTLENECK, 1, 1);
        Self {
            norm1: BatchNorm2d::new(&(path / "norm1"), in_channels),
            reduce: ConvNorm::new(conv1, &(path / "norm2")),
            conv2: conv_layer(&(path / "conv2"), BOTTLENECK, GROWTH, 3, 1),
        }
    }

    fn folded(&self, precision: Precision) -> Self {
        Self {
            norm1: self.norm1.frozen(),
            reduce: self.reduce.folded(precision),
            conv2: self.conv2.frozen(precision),
        }
    }
}

impl Block for DenseLayer {
    fn compute(&self, x: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        let y = self.norm1.forward_relu(x, None, mode, probe);
        let y = self.reduce.forward_relu(&y, None, mode, probe);
        self.conv2.forward(&y)
    }
}

/// Between the blocks: halves the channels and the size.
#[derive(Debug, Clone)]
struct Transition {
    norm: BatchNorm2d,
    conv: Conv2d,
}

impl Transition {
    fn new(path: &Path, in_channels: i64) -> Self {
        Self {
            norm: BatchNorm2d::new(&(path / "norm"), in_channels),
            conv: conv_layer(&(path / "conv"), in_channels, in_channels / 2, 1, 1),
        }
    }

    fn frozen(&self, precision: Precision) -> Self {
        Self { norm: self.norm.frozen(), conv: self.conv.frozen(precision) }
    }
}

impl Block for Transition {
    fn compute(&self, x: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        let y = self.conv.forward(&self.norm.forward_relu(x, None, mode, probe));
        y.avg_pool2d(2, 2, 0, false, true, None)
    }
}

/// DenseNet-121.
#[derive(Debug)]
pub(crate) struct DenseNet {
    stem: Stem,
    blocks: [Vec<DenseLayer>; 4],
    transitions: [Transition; 3],
    norm5: BatchNorm2d,
    classifier: Linear,
    dropout: f64,
}

impl DenseNet {
    pub(crate) fn new(path: &Path, num_classes: i64, dropout: f64) -> Self {
        let features = path / "features";
        let conv0 = conv_layer(&(&features / "conv0"), 3, STEM, 7, 2);
        let stem = Stem(ConvNorm::new(conv0, &(&features / "norm0")));
        // Channels that enter each block, and those that leave it.
        let mut channels = [(STEM, 0); 4];
        for (i, depth) in DEPTHS.into_iter().enumerate() {
            if i > 0 {
                channels[i].0 = channels[i - 1].1 / 2;
            }
            channels[i].1 = channels[i].0 + depth as i64 * GROWTH;
        }
        let blocks = [0, 1, 2, 3].map(|i| {
            let path = &features / format!("denseblock{}", i + 1);
            let layer = |j| {
                let path = &path / format!("denselayer{}", j + 1);
                DenseLayer::new(&path, channels[i].0 + j as i64 * GROWTH)
            };
            (0..DEPTHS[i]).map(layer).collect()
        });
        let transitions = [0, 1, 2].map(|i| {
            let path = &features / format!("transition{}", i + 1);
            Transition::new(&path, channels[i].1)
        });
        let norm5 = BatchNorm2d::new(&(&features / "norm5"), channels[3].1);
        let classifier = path / "classifier";
        let classifier =
            Linear::new(&classifier, channels[3].1, num_classes, Init::Default, Init::Zeros);
        Self { stem, blocks, transitions, norm5, classifier, dropout }
    }
}

impl Backbone for DenseNet {
    fn forward_probed(&self, images: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        let x = self.stem.forward(images, mode, probe); // [B,64,H/4,W/4]
        let mut x = probe.tap(TAPS[0], x);
        for (i, block) in self.blocks.iter().enumerate() {
            if i > 0 {
                x = self.transitions[i - 1].forward(&x, mode, probe);
            }
            for layer in block {
                let y = layer.forward(&x, mode, probe);
                x = Tensor::cat(&[x, dropout(y, self.dropout, mode)], 1);
            }
            x = probe.tap(TAPS[1 + i], x);
        }
        let x = probe.tap(TAPS[5], self.norm5.forward(&x, mode)); // [B,1024,H/32,W/32]
        let x = probe.relu(&x);
        let x = probe.tap(TAPS[6], x);
        self.classifier.forward_pooled(&x)
    }

    fn cam_layer(&self) -> &'static str {
        "features.relu5"
    }
}

impl Network for DenseNet {
    fn inference_form(&self, precision: Precision) -> Box<dyn Backbone> {
        let blocks = self.blocks.each_ref();
        Box::new(Self {
            stem: self.stem.folded(precision),
            blocks: blocks.map(|block| block.iter().map(|layer| layer.folded(precision)).collect()),
            transitions: self.transitions.each_ref().map(|transition| transition.frozen(precision)),
            norm5: self.norm5.frozen(),
            classifier: self.classifier.frozen(Precision::F32),
            dropout: self.dropout,
        })
    }
}

fn conv_layer(
    path: &Path,
    in_channels: i64,
    out_channels: i64,
    kernel: i64,
    stride: i64,
) -> Conv2d {
    Conv2d::new(path, in_channels, out_channels, kernel, stride, Init::KaimingFanIn)
}
