//! Residual networks (He et al. 2016, doi:10.1109/CVPR.2016.90), with the stride on the 3×3 convolution
//! (known as v1.5), as torchvision builds them.

use sib_core::{Backbone, Mode, Probe};
use tch::Tensor;
use tch::nn::Path;

use crate::layers::{Block, Conv2d, ConvConfig, ConvNorm, Init, Linear};
use crate::spec::{Build, Sides, Spec};
use crate::stem::Stem;
use crate::{Network, Precision};

pub(crate) static RESNET18: Spec = spec("resnet18", "ResNet-18", |path, classes, _| {
    let kind = BlockKind::Basic;
    Box::new(ResNet::new(path, kind, [2, 2, 2, 2], classes))
});

pub(crate) static RESNET50: Spec = spec("resnet50", "ResNet-50", |path, classes, _| {
    let kind = BlockKind::Bottleneck;
    Box::new(ResNet::new(path, kind, [3, 4, 6, 3], classes))
});

const fn spec(name: &'static str, title: &'static str, build: Build) -> Spec {
    Spec {
        name,
        title,
        taps: &TAPS,
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

const TAPS: [&str; 5] = ["maxpool", "layer1", "layer2", "layer3", CAM_LAYER];
const CAM_LAYER: &str = "layer4";

/// The two kinds of residual block.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BlockKind {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3, 1×1, the last one four times as wide.
    Bottleneck,
}

impl BlockKind {
    /// Output channels per channel of width.
    fn expansion(self) -> i64 {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }

    /// Kernel side, stride and output channels of each convolution.
    fn convolutions(self, width: i64, stride: i64) -> Vec<(i64, i64, i64)> {
        match self {
            Self::Basic => vec![(3, stride, width), (3, 1, width)],
            Self::Bottleneck => vec![(1, 1, width), (3, stride, width), (1, 1, 4 * width)],
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
            .map(|((kernel, stride, out_channels), i)| {
                let (conv, norm) = (path / format!("conv{i}"), path / format!("bn{i}"));
                let conv = conv_layer(&conv, channels, out_channels, kernel, stride);
                let layer = ConvNorm::new(conv, &norm);
                channels = out_channels;
                layer
            })
            .collect();
        let shortcut = (stride != 1 || in_channels != channels).then(|| {
            let path = path / "downsample";
            let conv = conv_layer(&(&path / 0), in_channels, channels, 1, stride);
            ConvNorm::new(conv, &(&path / 1))
        });
        Self { branch, shortcut }
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
pub(crate) struct ResNet {
    stem: Stem,
    stages: [Vec<Residual>; 4],
    fc: Linear,
}

impl ResNet {
    /// `depths` is the number of blocks in each stage.
    pub(crate) fn new(path: &Path, block: BlockKind, depths: [usize; 4], num_classes: i64) -> Self {
        let conv1 = conv_layer(&(path / "conv1"), 3, 64, 7, 2);
        let stem = Stem(ConvNorm::new(conv1, &(path / "bn1")));
        let mut channels = 64;
        let stages = [0, 1, 2, 3].map(|stage| {
            let path = path / format!("layer{}", stage + 1);
            let width = 64 << stage;
            (0..depths[stage])
                .map(|i| {
                    let stride = if i == 0 && stage > 0 { 2 } else { 1 };
                    let residual = Residual::new(&(&path / i), block, channels, width, stride);
                    channels = width * block.expansion();
                    residual
                })
                .collect()
        });
        let fc = Linear::new(&(path / "fc"), channels, num_classes, Init::Default, Init::Default);
        Self { stem, stages, fc }
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

fn conv_layer(
    path: &Path,
    in_channels: i64,
    out_channels: i64,
    kernel: i64,
    stride: i64,
) -> Conv2d {
    let config = ConvConfig { stride, weight: Init::KaimingFanOut, ..ConvConfig::default() };
    Conv2d::new(path, in_channels, out_channels, kernel, config)
}
