//! Densely connected networks (Huang et al. 2017, doi:10.1109/CVPR.2017.243), as torchvision builds them.

use sib_core::{Backbone, Mode, Probe};
use tch::Tensor;
use tch::nn::Path;

use crate::layers::{BatchNorm2d, Block, Conv2d, ConvConfig, ConvNorm, Init, Linear, dropout};
use crate::spec::{Build, Sides, Spec};
use crate::stem::Stem;
use crate::{Network, Precision};

pub(crate) static DENSENET121: Spec =
    spec("densenet121", "DenseNet-121", |path, classes, options| {
        let size = Size { depths: [6, 12, 24, 16], growth: 32, stem: 64 };
        DenseNet::boxed(path, size, classes, options.dropout)
    });

pub(crate) static DENSENET161: Spec =
    spec("densenet161", "DenseNet-161", |path, classes, options| {
        let size = Size { depths: [6, 12, 36, 24], growth: 48, stem: 96 };
        DenseNet::boxed(path, size, classes, options.dropout)
    });

pub(crate) static DENSENET169: Spec =
    spec("densenet169", "DenseNet-169", |path, classes, options| {
        let size = Size { depths: [6, 12, 32, 32], growth: 32, stem: 64 };
        DenseNet::boxed(path, size, classes, options.dropout)
    });

pub(crate) static DENSENET201: Spec =
    spec("densenet201", "DenseNet-201", |path, classes, options| {
        let size = Size { depths: [6, 12, 48, 32], growth: 32, stem: 64 };
        DenseNet::boxed(path, size, classes, options.dropout)
    });

const fn spec(name: &'static str, title: &'static str, build: Build) -> Spec {
    Spec {
        name,
        title,
        taps: &TAPS,
        averaged: Some(CAM_LAYER),
        stages: [TAPS[1], TAPS[2], TAPS[3], TAPS[4]],
        last_stage: &["features.denseblock4", "features.norm5"],
        head: "classifier",
        // Five halvings; the first two round up, the last three down.
        sides: Sides::from(29),
        dropout: Some(0.0),
        attention_dropout: None,
        // torchvision's files of before 2018: `denselayer1.norm.1` for `denselayer1.norm1`. (timm's names
        // are torchvision's.)
        renames: &[
            (".norm.1.", ".norm1."),
            (".norm.2.", ".norm2."),
            (".conv.1.", ".conv1."),
            (".conv.2.", ".conv2."),
        ],
        adapted: &[],
        build,
    }
}

const TAPS: [&str; 7] = [
    "features.pool0",
    "features.denseblock1",
    "features.denseblock2",
    "features.denseblock3",
    "features.denseblock4",
    "features.norm5",
    CAM_LAYER,
];
const CAM_LAYER: &str = "features.relu5";

/// What tells one DenseNet from another.
struct Size {
    /// Dense layers in each block.
    depths: [usize; 4],
    /// Channels that each dense layer adds.
    growth: i64,
    /// Channels of the stem.
    stem: i64,
}

/// Adds `growth` channels to its input: norm, ReLU, 1×1 convolution, norm, ReLU, 3×3 convolution.
#[derive(Debug, Clone)]
struct DenseLayer {
    norm1: BatchNorm2d,
    reduce: ConvNorm,
    conv2: Conv2d,
}

impl DenseLayer {
    fn new(path: &Path, in_channels: i64, growth: i64) -> Self {
        let bottleneck = 4 * growth;
        let conv1 = conv_layer(&(path / "conv1"), in_channels, bottleneck, 1, 1);
        Self {
            norm1: BatchNorm2d::new(&(path / "norm1"), in_channels),
            reduce: ConvNorm::new(conv1, &(path / "norm2")),
            conv2: conv_layer(&(path / "conv2"), bottleneck, growth, 3, 1),
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

/// Stem, and dense blocks with transitions between them.
#[derive(Debug)]
struct DenseNet {
    stem: Stem,
    blocks: [Vec<DenseLayer>; 4],
    transitions: [Transition; 3],
    norm5: BatchNorm2d,
    classifier: Linear,
    dropout: f64,
}

impl DenseNet {
    fn boxed(path: &Path, size: Size, num_classes: i64, dropout: f64) -> Box<dyn Network> {
        let Size { depths, growth, stem: stem_channels } = size;
        let features = path / "features";
        let conv0 = conv_layer(&(&features / "conv0"), 3, stem_channels, 7, 2);
        let stem = Stem(ConvNorm::new(conv0, &(&features / "norm0")));
        // Channels that enter each block, and those that leave it.
        let mut channels = [(stem_channels, 0); 4];
        for (i, depth) in depths.into_iter().enumerate() {
            if i > 0 {
                channels[i].0 = channels[i - 1].1 / 2;
            }
            channels[i].1 = channels[i].0 + depth as i64 * growth;
        }
        let blocks = [0, 1, 2, 3].map(|i| {
            let path = &features / format!("denseblock{}", i + 1);
            let layer = |j| {
                let path = &path / format!("denselayer{}", j + 1);
                DenseLayer::new(&path, channels[i].0 + j as i64 * growth, growth)
            };
            (0..depths[i]).map(layer).collect()
        });
        let transitions = [0, 1, 2].map(|i| {
            let path = &features / format!("transition{}", i + 1);
            Transition::new(&path, channels[i].1)
        });
        let norm5 = BatchNorm2d::new(&(&features / "norm5"), channels[3].1);
        let classifier = path / "classifier";
        let classifier =
            Linear::new(&classifier, channels[3].1, num_classes, Init::Default, Init::Zeros);
        Box::new(Self { stem, blocks, transitions, norm5, classifier, dropout })
    }
}

impl Backbone for DenseNet {
    fn forward_probed(&self, images: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        let x = self.stem.forward(images, mode, probe); // [B,stem,H/4,W/4]
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
        let x = probe.tap(TAPS[5], self.norm5.forward(&x, mode)); // [B,C,H/32,W/32]
        let x = probe.relu(&x);
        let x = probe.tap(TAPS[6], x);
        self.classifier.forward_pooled(&x)
    }

    fn cam_layer(&self) -> Option<&str> {
        Some(CAM_LAYER)
    }
}

impl Network for DenseNet {
    fn folded(&self, precision: Precision) -> Box<dyn Backbone> {
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
    let config = ConvConfig { stride, weight: Init::KaimingFanIn, ..ConvConfig::default() };
    Conv2d::new(path, in_channels, out_channels, kernel, config)
}
