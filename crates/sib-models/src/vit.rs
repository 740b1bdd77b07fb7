//! Vision transformers (Dosovitskiy et al. 2021, arXiv:2010.11929), as torchvision builds them.

use sib_core::tensor::{self, ConvGeometry};
use sib_core::{Backbone, Mode, Probe};
use tch::Tensor;
use tch::nn::Path;

use crate::ModelOptions;
use crate::layers::{Block, Init, LayerNorm, Linear, SelfAttention, Variable, dropout};
use crate::patches::{PatchMaps, is_square_grid, resize_positions, to_tokens};
use crate::spec::{Adapted, Build, Sides, Spec};
use crate::{Network, Precision};

pub(crate) static VIT_B_16: Spec = base("vit_b_16", "ViT-B/16", 16, |path, classes, options| {
    VisionTransformer::boxed(path, BASE, 16, classes, options)
});

pub(crate) static VIT_B_32: Spec = base("vit_b_32", "ViT-B/32", 32, |path, classes, options| {
    VisionTransformer::boxed(path, BASE, 32, classes, options)
});

pub(crate) static VIT_L_16: Spec = large("vit_l_16", "ViT-L/16", 16, |path, classes, options| {
    VisionTransformer::boxed(path, LARGE, 16, classes, options)
});

pub(crate) static VIT_L_32: Spec = large("vit_l_32", "ViT-L/32", 32, |path, classes, options| {
    VisionTransformer::boxed(path, LARGE, 32, classes, options)
});

const fn base(name: &'static str, title: &'static str, patch_px: i64, build: Build) -> Spec {
    let last_stage = &["encoder.layers.encoder_layer_11", "encoder.ln"];
    let stages = [TAPS[5], TAPS[11], TAPS[17], TAPS[21]];
    Spec { taps: BASE.taps, stages, last_stage, ..spec(name, title, patch_px, build) }
}

const fn large(name: &'static str, title: &'static str, patch_px: i64, build: Build) -> Spec {
    let last_stage = &["encoder.layers.encoder_layer_23", "encoder.ln"];
    let stages = [TAPS[11], TAPS[23], TAPS[35], TAPS[45]];
    Spec { taps: LARGE.taps, stages, last_stage, ..spec(name, title, patch_px, build) }
}

const fn spec(name: &'static str, title: &'static str, patch_px: i64, build: Build) -> Spec {
    Spec {
        name,
        title,
        taps: &[],
        stages: [""; 4],
        averaged: None,
        last_stage: &[],
        head: "heads.head",
        sides: Sides::multiples_of(patch_px),
        dropout: Some(0.0),
        attention_dropout: Some(0.0),
        // timm's, and the multi-layer perceptron of torchvision before 0.13.
        renames: &[
            ("^cls_token", "class_token"),
            ("^pos_embed", POSITIONS),
            ("^patch_embed.proj.", "conv_proj."),
            ("^blocks.", "encoder.layers.encoder_layer_"),
            ("^norm.", "encoder.ln."),
            ("^head.", "heads.head."),
            (".norm1.", ".ln_1."),
            (".norm2.", ".ln_2."),
            (".attn.qkv.", ".self_attention.in_proj_"),
            (".attn.proj.", ".self_attention.out_proj."),
            (".mlp.fc1.", ".mlp.0."),
            (".mlp.fc2.", ".mlp.3."),
            (".mlp.linear_1.", ".mlp.0."),
            (".mlp.linear_2.", ".mlp.3."),
        ],
        adapted: &[Adapted { name: POSITIONS, fits: are_positions, adapt: resized }],
        build,
    }
}

/// Key of the position embeddings.
const POSITIONS: &str = "encoder.pos_embedding";

/// What tells one vision transformer from another, but for the side of its patches.
#[derive(Clone, Copy)]
struct Size {
    /// Channels of a token.
    width: i64,
    heads: i64,
    mlp_width: i64,
    /// What enters each block's attention, and what leaves it; of the last block the former only, since the patches'
    /// tokens that leave it are not read.
    taps: &'static [&'static str],
}

const BASE: Size = Size { width: 768, heads: 12, mlp_width: 3072, taps: TAPS.split_at(23).0 };
const LARGE: Size = Size { width: 1024, heads: 16, mlp_width: 4096, taps: TAPS.split_at(47).0 };

/// What enters the attention and what leaves the block, for these blocks.
macro_rules! taps {
    ($($block:literal)*) => {
        &[$(
            concat!("encoder.layers.encoder_layer_", $block, ".ln_1"),
            concat!("encoder.layers.encoder_layer_", $block),
        )*]
    };
}

const TAPS: &[&str] = taps!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23);

/// Side of the images that position embeddings are stored for.
const IMAGE_PX: i64 = 224;
const LAYER_NORM_EPS: f64 = 1e-6;

/// A pre-normalised transformer block.
#[derive(Debug, Clone)]
struct EncoderBlock {
    /// The tap that sees the first normalisation's output, and the one that sees what leaves the block.
    taps: (&'static str, Option<&'static str>),
    ln_1: LayerNorm,
    attention: SelfAttention,
    ln_2: LayerNorm,
    mlp: [Linear; 2],
    dropout: f64,
}

impl EncoderBlock {
    fn new(path: &Path, taps: &'static [&'static str], size: Size, options: &ModelOptions) -> Self {
        let Size { width, heads, mlp_width, .. } = size;
        // torchvision numbers linear, GELU, dropout, linear.
        let mlp = [("0", width, mlp_width), ("3", mlp_width, width)].map(|(i, from, to)| {
            Linear::new(&(path / "mlp" / i), from, to, Init::Xavier, Init::Normal(1e-6))
        });
        let attention = path / "self_attention";
        Self {
            taps: (taps[0], taps.get(1).copied()),
            ln_1: LayerNorm::new(&(path / "ln_1"), width, LAYER_NORM_EPS),
            attention: SelfAttention::new(&attention, width, heads, options.attention_dropout),
            ln_2: LayerNorm::new(&(path / "ln_2"), width, LAYER_NORM_EPS),
            mlp,
            dropout: options.dropout,
        }
    }

    fn frozen(&self, precision: Precision) -> Self {
        Self {
            taps: self.taps,
            ln_1: self.ln_1.frozen(precision),
            attention: self.attention.frozen(precision),
            ln_2: self.ln_2.frozen(precision),
            mlp: self.mlp.each_ref().map(|linear| linear.frozen(precision)),
            dropout: self.dropout,
        }
    }
}

impl Block for EncoderBlock {
    /// Of tokens `[B,N,width]`.
    fn compute(&self, x: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        let y = probe.tap(self.taps.0, self.ln_1.forward(x));
        let x = x + dropout(self.attention.forward(&y, mode), self.dropout, mode);
        let y = tensor::gelu(&self.mlp[0].forward(&self.ln_2.forward(&x)));
        let y = self.mlp[1].forward(&dropout(y, self.dropout, mode));
        x + dropout(y, self.dropout, mode)
    }
}

/// A vision transformer.
#[derive(Debug)]
struct VisionTransformer {
    patch_weight: Variable,
    patch_bias: Variable,
    class_token: Variable,
    pos_embedding: Variable,
    blocks: Vec<EncoderBlock>,
    ln: LayerNorm,
    head: Linear,
    dropout: f64,
}

impl VisionTransformer {
    /// Input sizes are multiples of `patch_px`, the side of a patch.
    fn boxed(
        path: &Path,
        size: Size,
        patch_px: i64,
        num_classes: i64,
        options: &ModelOptions,
    ) -> Box<dyn Network> {
        let width = size.width;
        let device = path.device();
        let add = |path: &Path, name: &str, shape: &[i64], init: Init| {
            Variable::from(path.add(name, init.draw(shape, (1, 1), device), true))
        };
        // torchvision truncates this distribution at ±2, tens of standard deviations away.
        let patch_init = Init::Normal(((3 * patch_px * patch_px) as f64).powf(-0.5));
        let conv_proj = path / "conv_proj";
        let encoder = path / "encoder";
        let layers = &encoder / "layers";
        let tokens = 1 + (IMAGE_PX / patch_px).pow(2);
        let block = |(i, taps): (usize, &'static [&'static str])| {
            EncoderBlock::new(&(&layers / format!("encoder_layer_{i}")), taps, size, options)
        };
        let head = path / "heads" / "head";
        Box::new(Self {
            patch_weight: add(&conv_proj, "weight", &[width, 3, patch_px, patch_px], patch_init),
            patch_bias: add(&conv_proj, "bias", &[width], Init::Zeros),
            class_token: add(path, "class_token", &[1, 1, width], Init::Zeros),
            pos_embedding: add(&encoder, "pos_embedding", &[1, tokens, width], Init::Normal(0.02)),
            blocks: size.taps.chunks(2).enumerate().map(block).collect(),
            ln: LayerNorm::new(&(&encoder / "ln"), width, LAYER_NORM_EPS),
            head: Linear::new(&head, width, num_classes, Init::Zeros, Init::Zeros),
            dropout: options.dropout,
        })
    }
}

impl Backbone for VisionTransformer {
    fn forward_probed(&self, images: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        let patch_px = self.patch_weight.size()[2];
        let (weight, bias) = (self.patch_weight.like(images), self.patch_bias.like(images));
        let patch = ConvGeometry { stride: patch_px, padding: 0, groups: 1 };
        let patches = tensor::conv2d(images, &weight, Some(&bias), patch); // [B,width,h,w]
        let &[batch, width, height, width_px] = &patches.size()[..] else { unreachable!() };
        let grid = [height, width_px];
        let class_token = self.class_token.like(&patches).expand([batch, 1, width], false);
        let tokens = Tensor::cat(&[class_token, to_tokens(&patches)], 1);
        let positions = resize_positions(&self.pos_embedding, grid).to_kind(tokens.kind());
        let tokens = tokens + positions;
        let mut x = dropout(tokens, self.dropout, mode); // [B,1+h·w,width]
        let mut probe = PatchMaps { probe, grid };
        for block in &self.blocks {
            x = block.forward(&x, mode, &mut probe);
            if let Some(tap) = block.taps.1 {
                x = probe.tap(tap, x);
            }
        }
        // The final normalisation works token by token, and only the class token is read.
        let class_token = x.select(1, 0).to_kind(self.head.kind());
        self.head.forward(&self.ln.forward(&class_token))
    }

    fn cam_layer(&self) -> Option<&str> {
        self.blocks.last().map(|block| block.taps.0)
    }
}

impl Network for VisionTransformer {
    /// Layer normalisation depends on its input: there is nothing to fold.
    fn folded(&self, precision: Precision) -> Box<dyn Backbone> {
        Box::new(Self {
            patch_weight: self.patch_weight.frozen(precision),
            patch_bias: self.patch_bias.frozen(precision),
            class_token: self.class_token.frozen(precision),
            // Resized where images have another size, and cast then.
            pos_embedding: self.pos_embedding.frozen(Precision::F32),
            blocks: self.blocks.iter().map(|block| block.frozen(precision)).collect(),
            ln: self.ln.frozen(Precision::F32),
            head: self.head.frozen(Precision::F32),
            dropout: self.dropout,
        })
    }
}

/// Whether a tensor of shape `have` is position embeddings of square images, of any number of patches.
fn are_positions(have: &[i64], want: &[i64]) -> bool {
    have.len() == 3 && have[0] == 1 && have[2] == want[2] && is_square_grid(have[1] - 1)
}

/// Position embeddings for as many patches as `want` has.
fn resized(positions: &Tensor, want: &[i64]) -> Tensor {
    let side = (want[1] - 1).isqrt();
    resize_positions(positions, [side, side])
}
