//! Residual networks (He et al. 2016, doi:10.1109/CVPR.2016.90), with the stride on the 3×3 convolution
//! (known as v1.5), wide ones (Zagoruyko & Komodakis 2016, arXiv:1605.07146) and aggregated ones (ResNeXt,
//! Xie et al. 2017, doi:10.1109/CVPR.2017.634), as torchvision builds them.

use sib_core::{Backbone, Mode, Probe};
use tch::Tensor;
use tch::nn::Path;

use crate::layers::{Block, Conv2d, ConvConfig, ConvNorm, Init, Linear};
use crate::spec::{Build, Sides, Spec};
use crate::stem::Stem;
use crate::{Network, Precision};

pub(crate) static RESNET18: Spec = spec("resnet18", "ResNet-18", |path, classes, _| {
    ResNet::boxed(path, Size { depths: [2, 2, 2, 2], block: BASIC }, classes)
});

pub(crate) static RESNET34: Spec = spec("resnet34", "ResNet-34", |path, classes, _| {
    ResNet::boxed(path, Size { depths: [3, 4, 6, 3], block: BASIC }, classes)
});

pub(crate) static RESNET50: Spec = spec("resnet50", "ResNet-50", |path, classes, _| {
    ResNet::boxed(path, Size { depths: [3, 4, 6, 3], block: BOTTLENECK }, classes)
});

pub(crate) static RESNET101: Spec = spec("resnet101", "ResNet-101", |path, classes, _| {
    ResNet::boxed(path, Size { depths: [3, 4, 23, 3], block: BOTTLENECK }, classes)
});

pub(crate) static RESNET152: Spec = spec("resnet152", "ResNet-152", |path, classes, _| {
    ResNet::boxed(path, Size { depths: [3, 8, 36, 3], block: BOTTLENECK }, classes)
});

pub(crate) static WIDE_RESNET50_2: Spec =
    spec("wide_resnet50_2", "Wide-ResNet-50-2", |path, classes, _| {
        let block = BlockKind::Bottleneck { groups: 1, group_width: 128 };
        ResNet::boxed(path, Size { depths: [3, 4, 6, 3], block }, classes)
    });

pub(crate) static RESNEXT50_32X4D: Spec =
    spec("resnext50_32x4d", "ResNeXt-50", |path, classes, _| {
        let block = BlockKind::Bottleneck { groups: 32, group_width: 4 };
        ResNet::boxed(path, Size { depths: [3, 4, 6, 3], block }, classes)
    });

const fn spec(name: &'static str, title: &'static str, build: Build) -> Spec {
    Spec {
        name,
        title,
        taps: &TAPS,
        stages: STAGES,
        averaged: Some(CAM_LAYER),
        last_stage: &["layer4"],
        head: "fc",
        sides: Sides::from(1),
        dropout: None,
        attention_dropout: None,
        // timm's names are torchvision's.
        renames: &[],
        adapted: &[],
        build,
    }
}

const STAGES: [&str; 4] = ["layer1", "layer2", "layer3", CAM_LAYER];
const TAPS: [&str; 5] = ["maxpool", STAGES[0], STAGES[1], STAGES[2], STAGES[3]];
const CAM_LAYER: &str = "layer4";

/// What tells one residual network from another.
struct Size {
    /// Blocks in each stage.
    depths: [usize; 4],
    block: BlockKind,
}

/// The two kinds of residual block.
#[derive(Debug, Clone, Copy)]
enum BlockKind {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3 in `groups` parts, 1×1. `group_width` is the number of the 3×3 convolution's channels in
    /// each part in the first stage; it doubles from stage to stage.
    Bottleneck { groups: i64, group_width: i64 },
}

const BASIC: BlockKind = BlockKind::Basic;
const BOTTLENECK: BlockKind = BlockKind::Bottleneck { groups: 1, group_width: 64 };

/// Channels of the first stage of basic blocks; the second has twice as many, and so on.
const BASE_WIDTH: i64 = 64;

/// A convolution of a residual block.
struct Shape {
    out_channels: i64,
    /// Side in pixels.
    kernel: i64,
    stride: i64,
    groups: i64,
}

impl BlockKind {
    /// The convolutions of a block in a stage of `width` channels, four times as many for bottlenecks.
    fn convolutions(self, width: i64, stride: i64) -> Vec<Shape> {
        let shape =
            |out_channels, kernel, stride, groups| Shape { out_channels, kernel, stride, groups };
        match self {
            Self::Basic => vec![shape(width, 3, stride, 1), shape(width, 3, 1, 1)],
            Self::Bottleneck { groups, group_width } => {
                let inner = width / BASE_WIDTH * group_width * groups;
                vec![
                    shape(inner, 1, 1, 1),
                    shape(inner, 3, stride, groups),
                    shape(4 * width, 1, 1, 1),
                ]
            }
        }
    }
}

/// `relu(F(x) + shortcut(x))`.
#[derive(Debug, Clone)]
struct Residual {
    branch: Vec<ConvNorm>,
    /// A 1×1 convolution where the shape changes, otherwise the identity.
    shortcut: Option<ConvNorm>,
}

impl Residual {
    fn new(path: &Path, block: BlockKind, in_channels: i64, width: i64, stride: i64) -> Self {
        let mut channels = in_channels;
        let branch = block
            .convolutions(width, stride)
            .into_iter()
            .zip(1..)
            .map(|(shape, i)| {
                let (conv, norm) = (path / format!("conv{i}"), path / format!("bn{i}"));
                let conv = conv_layer(&conv, channels, &shape);
                channels = conv.out_channels();
                ConvNorm::new(conv, &norm)
            })
            .collect();
        let shortcut = (stride != 1 || in_channels != channels).then(|| {
            let path = path / "downsample";
            let shape = Shape { out_channels: channels, kernel: 1, stride, groups: 1 };
            ConvNorm::new(conv_layer(&(&path / 0), in_channels, &shape), &(&path / 1))
        });
        Self { branch, shortcut }
    }

    /// Number of channels that it makes.
    fn out_channels(&self) -> i64 {
        self.branch.last().expect("a block has convolutions").out_channels()
    }

    fn folded(&self, precision: Precision) -> Self {
        Self {
            branch: self.branch.iter().map(|layer| layer.folded(precision)).collect(),
            shortcut: self.shortcut.as_ref().map(|layer| layer.folded(precision)),
        }
    }
}

impl Block for Residual {
    fn compute(&self, x: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x, mode),
            None => x.shallow_clone(),
        };
        let (last, first) = self.branch.split_last().expect("a block has convolutions");
        let mut y = x.shallow_clone();
        for layer in first {
            y = layer.forward_relu(&y, None, mode, probe);
        }
        last.forward_relu(&y, Some(&shortcut), mode, probe)
    }
}

/// A residual network of four stages.
#[derive(Debug)]
struct ResNet {
    stem: Stem,
    stages: [Vec<Residual>; 4],
    fc: Linear,
}

impl ResNet {
    fn boxed(path: &Path, size: Size, num_classes: i64) -> Box<dyn Network> {
        let shape = Shape { out_channels: BASE_WIDTH, kernel: 7, stride: 2, groups: 1 };
        let conv1 = conv_layer(&(path / "conv1"), 3, &shape);
        let stem = Stem(ConvNorm::new(conv1, &(path / "bn1")));
        let mut channels = BASE_WIDTH;
        let stages = [0, 1, 2, 3].map(|stage| {
            let path = path / format!("layer{}", stage + 1);
            (0..size.depths[stage])
                .map(|i| {
                    let stride = if i == 0 && stage > 0 { 2 } else { 1 };
                    let width = BASE_WIDTH << stage;
                    let residual = Residual::new(&(&path / i), size.block, channels, width, stride);
                    channels = residual.out_channels();
                    residual
                })
                .collect()
        });
        let fc = Linear::new(&(path / "fc"), channels, num_classes, Init::Default, Init::Default);
        Box::new(Self { stem, stages, fc })
    }
}

impl Backbone for ResNet {
    fn forward_probed(&self, images: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        let x = self.stem.forward(images, mode, probe); // [B,64,H/4,W/4]
        let mut x = probe.tap(TAPS[0], x);
        for (stage, name) in self.stages.iter().zip(&TAPS[1..]) {
            for residual in stage {
                x = residual.forward(&x, mode, probe);
            }
            x = probe.tap(name, x);
        }
        self.fc.forward_pooled(&x)
    }

    fn cam_layer(&self) -> Option<&str> {
        Some(CAM_LAYER)
    }
}

impl Network for ResNet {
    fn folded(&self, precision: Precision) -> Box<dyn Backbone> {
        Box::new(Self {
            stem: self.stem.folded(precision),
            stages: self
                .stages
                .each_ref()
                .map(|stage| stage.iter().map(|residual| residual.folded(precision)).collect()),
            fc: self.fc.frozen(Precision::F32),
        })
    }
}

fn conv_layer(path: &Path, in_channels: i64, shape: &Shape) -> Conv2d {
    let &Shape { out_channels, kernel, stride, groups } = shape;
    let config =
        ConvConfig { stride, groups, weight: Init::KaimingFanOut, ..ConvConfig::default() };
    Conv2d::new(path, in_channels, out_channels, kernel, config)
}
