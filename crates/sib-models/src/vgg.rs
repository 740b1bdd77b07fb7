//! VGG (Simonyan & Zisserman 2015, arXiv:1409.1556) without and with batch normalisation, as torchvision
//! builds it.

use sib_core::{Backbone, Mode, Probe};
use tch::Tensor;
use tch::nn::Path;

use crate::layers::{Block, Conv2d, ConvConfig, ConvNorm, Init, Linear, dropout};
use crate::spec::{Adapted, Build, Sides, Spec};
use crate::{Network, Precision};

pub(crate) static VGG16: Spec = Spec {
    taps: &TAPS,
    stages: stages(&TAPS),
    last_stage: &["features.24", "features.26", "features.28", "classifier.0", "classifier.3"],
    ..spec("vgg16", "VGG-16", |path, classes, options| {
        Box::new(Vgg::new(path, Norm::None, &TAPS, classes, options.dropout))
    })
};

pub(crate) static VGG16_BN: Spec = Spec {
    taps: &TAPS_BN,
    stages: stages(&TAPS_BN),
    last_stage: &[
        "features.34",
        "features.35",
        "features.37",
        "features.38",
        "features.40",
        "features.41",
        "classifier.0",
        "classifier.3",
    ],
    ..spec("vgg16_bn", "VGG-16-BN", |path, classes, options| {
        Box::new(Vgg::new(path, Norm::Batch, &TAPS_BN, classes, options.dropout))
    })
};

const fn spec(name: &'static str, title: &'static str, build: Build) -> Spec {
    Spec {
        name,
        title,
        taps: &[],
        stages: [""; 4],
        averaged: None,
        last_stage: &[],
        head: "classifier.6",
        // Five halvings, all rounded down.
        sides: Sides::from(32),
        dropout: Some(0.5),
        attention_dropout: None,
        // timm's.
        renames: &[
            ("^pre_logits.fc1.", "classifier.0."),
            ("^pre_logits.fc2.", "classifier.3."),
            ("^head.fc.", "classifier.6."),
        ],
        adapted: &[
            Adapted { name: "classifier.0.weight", fits: are_kernels, adapt: flattened },
            Adapted { name: "classifier.3.weight", fits: are_kernels, adapt: flattened },
        ],
        build,
    }
}

/// The four poolings, the ReLU before the last pooling, and that.
type Taps = [&'static str; 6];

const TAPS: Taps =
    ["features.4", "features.9", "features.16", "features.23", "features.29", "features.30"];
const TAPS_BN: Taps =
    ["features.6", "features.13", "features.23", "features.33", "features.42", "features.43"];
/// Of the taps the one before the last pooling, where the paper of GradCAM looks
/// (doi:10.1109/ICCV.2017.74): a map of twice the height and width.
const CAM_LAYER: usize = 4;

/// The poolings but for the first, which halves what residual networks' stems quarter.
const fn stages(taps: &Taps) -> [&'static str; 4] {
    [taps[1], taps[2], taps[3], taps[5]]
}

/// Convolutions of each stage, and their output channels.
const STAGES: [(usize, i64); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];
/// Side of the map that the linear layers read, in cells.
const POOLED: i64 = 7;
/// Outputs of the first two linear layers.
const HIDDEN: i64 = 4096;

/// What follows a convolution.
#[derive(Clone, Copy)]
enum Norm {
    None,
    Batch,
}

/// Convolutions of one size of map, each followed by a ReLU.
#[derive(Debug, Clone)]
struct Stage(Vec<ConvNorm>);

impl Block for Stage {
    fn compute(&self, x: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        let layer = |x: Tensor, layer: &ConvNorm| layer.forward_relu(&x, None, mode, probe);
        self.0.iter().fold(x.shallow_clone(), layer)
    }
}

/// Five stages with poolings behind them, and three linear layers.
#[derive(Debug)]
struct Vgg {
    stages: [Stage; 5],
    hidden: [Linear; 2],
    head: Linear,
    taps: &'static Taps,
    dropout: f64,
}

impl Vgg {
    fn new(path: &Path, norm: Norm, taps: &'static Taps, classes: i64, dropout: f64) -> Self {
        let features = path / "features";
        let (mut channels, mut place) = (3, 0);
        let stages = STAGES.map(|(depth, width)| {
            let layers = (0..depth).map(|_| {
                let config = ConvConfig {
                    weight: Init::KaimingFanOut,
                    bias: Some(Init::Zeros),
                    ..ConvConfig::default()
                };
                let conv = Conv2d::new(&(&features / place), channels, width, 3, config);
                channels = width;
                // torchvision numbers convolution, normalisation, ReLU.
                match norm {
                    Norm::None => {
                        place += 2;
                        ConvNorm::without_norm(conv)
                    }
                    Norm::Batch => {
                        place += 3;
                        ConvNorm::new(conv, &(&features / (place - 2)))
                    }
                }
            });
            let stage = Stage(layers.collect());
            place += 1; // the pooling
            stage
        });
        // And linear, ReLU, dropout.
        let linear = |i: i64, from, to| {
            let path = path / "classifier" / i;
            Linear::new(&path, from, to, Init::Normal(0.01), Init::Zeros)
        };
        Self {
            stages,
            hidden: [linear(0, channels * POOLED * POOLED, HIDDEN), linear(3, HIDDEN, HIDDEN)],
            head: linear(6, HIDDEN, classes),
            taps,
            dropout,
        }
    }
}

impl Backbone for Vgg {
    fn forward_probed(&self, images: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        let mut x = images.shallow_clone();
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.forward(&x, mode, probe);
            if i == CAM_LAYER {
                x = probe.tap(self.taps[i], x); // [B,512,H/16,W/16]
            }
            x = x.max_pool2d(2, 2, 0, 1, false);
            if i < CAM_LAYER {
                x = probe.tap(self.taps[i], x);
            }
        }
        let x = probe.tap(self.taps[CAM_LAYER + 1], x); // [B,512,H/32,W/32]
        let mut x = x.adaptive_avg_pool2d([POOLED, POOLED]).flatten(1, 3);
        for linear in &self.hidden {
            x = dropout(probe.relu(&linear.forward(&x)), self.dropout, mode);
        }
        self.head.forward(&x.to_kind(self.head.kind()))
    }

    fn cam_layer(&self) -> Option<&str> {
        Some(self.taps[CAM_LAYER])
    }
}

impl Network for Vgg {
    fn folded(&self, precision: Precision) -> Box<dyn Backbone> {
        let folded = |stage: &Stage| Stage(stage.0.iter().map(|x| x.folded(precision)).collect());
        Box::new(Self {
            stages: self.stages.each_ref().map(folded),
            hidden: self.hidden.each_ref().map(|linear| linear.frozen(precision)),
            head: self.head.frozen(Precision::F32),
            ..*self
        })
    }
}

/// Whether a tensor of shape `have` is kernels that see as much as rows of shape `want` do: the same linear
/// layer as a convolution over the whole map.
fn are_kernels(have: &[i64], want: &[i64]) -> bool {
    have.len() == 4 && have[0] == want[0] && have[1..].iter().product::<i64>() == want[1]
}

/// Kernels as rows.
fn flattened(kernels: &Tensor, want: &[i64]) -> Tensor {
    kernels.reshape(want)
}
