//! Vision transformer ViT-B/32 (Dosovitskiy et al. 2021, arXiv:2010.11929), as torchvision builds
//! it.
//!
//! Attention is written out as matmul, softmax, matmul: none of libtorch's fused kernels for it can
//! be differentiated twice.

use sib_core::tensor::recomputed;
use sib_core::{Backbone, Mode, Probe};
use tch::Tensor;
use tch::nn::Path;

use crate::Precision;
use crate::arch::Network;
use crate::layers::{Init, LayerNorm, Linear, Variable, dropout, frozen};
use crate::model::ModelOptions;

/// Taps in the order of the forward pass: what enters each block's attention.
pub(crate) const TAPS: &[&str] = &[
    "encoder.layers.encoder_layer_0.ln_1",
    "encoder.layers.encoder_layer_1.ln_1",
    "encoder.layers.encoder_layer_2.ln_1",
    "encoder.layers.encoder_layer_3.ln_1",
    "encoder.layers.encoder_layer_4.ln_1",
    "encoder.layers.encoder_layer_5.ln_1",
    "encoder.layers.encoder_layer_6.ln_1",
    "encoder.layers.encoder_layer_7.ln_1",
    "encoder.layers.encoder_layer_8.ln_1",
    "encoder.layers.encoder_layer_9.ln_1",
    "encoder.layers.encoder_layer_10.ln_1",
    "encoder.layers.encoder_layer_11.ln_1",
];

/// Side of a patch; input sizes are multiples of it.
pub(crate) const PATCH_PX: i64 = 32;
/// Side, in patches, of the grid that position embeddings are stored for (224 px).
pub(crate) const GRID: i64 = 7;
/// Channels of a token.
pub(crate) const WIDTH: i64 = 768;
/// Key of the position embeddings.
pub(crate) const POS_EMBEDDING: &str = "encoder.pos_embedding";
const HEADS: i64 = 12;
const MLP_WIDTH: i64 = 3072;
const LAYER_NORM_EPS: f64 = 1e-6;

/// Multi-head self-attention.
#[derive(Debug, Clone)]
struct Attention {
    in_proj_weight: Variable,
    in_proj_bias: Variable,
    out_proj: Linear,
    dropout: f64,
}

impl Attention {
    fn new(path: &Path, dropout: f64) -> Self {
        // Xavier's rule over queries, keys and values together, as in PyTorch.
        let weight = Init::Xavier.draw(&[3 * WIDTH, WIDTH], (WIDTH, 3 * WIDTH), path.device());
        let bias = Init::Zeros.draw(&[3 * WIDTH], (WIDTH, 3 * WIDTH), path.device());
        Self {
            in_proj_weight: path.add("in_proj_weight", weight, true).into(),
            in_proj_bias: path.add("in_proj_bias", bias, true).into(),
            out_proj: Linear::new(&(path / "out_proj"), WIDTH, WIDTH, Init::Default, Init::Zeros),
            dropout,
        }
    }

    /// `softmax(Q K^T / sqrt(d)) V` per head, `x` being `[B,N,WIDTH]`.
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let (batch, tokens, _) = dims3(x);
        let head_width = WIDTH / HEADS;
        let qkv = x
            .linear(&self.in_proj_weight, Some(&*self.in_proj_bias))
            .reshape([batch, tokens, 3, HEADS, head_width])
            .permute([2, 0, 3, 1, 4]); // [3,B,HEADS,N,d]
        let (q, k, v) = (qkv.select(0, 0), qkv.select(0, 1), qkv.select(0, 2));
        let scores = (q * (head_width as f64).powf(-0.5)).matmul(&k.transpose(-2, -1)); // [B,HEADS,N,N]
        let weights = dropout(scores.softmax(-1, None), self.dropout, mode);
        let mixed = weights.matmul(&v).transpose(1, 2).reshape([batch, tokens, WIDTH]);
        self.out_proj.forward(&mixed)
    }

    fn frozen(&self, precision: Precision) -> Self {
        Self {
            in_proj_weight: frozen(&self.in_proj_weight, precision),
            in_proj_bias: frozen(&self.in_proj_bias, precision),
            out_proj: self.out_proj.frozen(precision),
            dropout: self.dropout,
        }
    }
}

/// A pre-normalised transformer block.
#[derive(Debug, Clone)]
struct EncoderBlock {
    ln_1: LayerNorm,
    attention: Attention,
    ln_2: LayerNorm,
    mlp: [Linear; 2],
    dropout: f64,
}

impl EncoderBlock {
    fn new(path: &Path, options: &ModelOptions) -> Self {
        // torchvision numbers linear, GELU, dropout, linear.
        let mlp = [("0", WIDTH, MLP_WIDTH), ("3", MLP_WIDTH, WIDTH)].map(|(i, from, to)| {
            Linear::new(&(path / "mlp" / i), from, to, Init::Xavier, Init::Normal(1e-6))
        });
        Self {
            ln_1: LayerNorm::new(&(path / "ln_1"), WIDTH, LAYER_NORM_EPS),
            attention: Attention::new(&(path / "self_attention"), options.attention_dropout),
            ln_2: LayerNorm::new(&(path / "ln_2"), WIDTH, LAYER_NORM_EPS),
            mlp,
            dropout: options.dropout,
        }
    }

    /// `tap` sees the first normalisation's output.
    fn forward(&self, x: &Tensor, mode: Mode, tap: impl FnOnce(Tensor) -> Tensor) -> Tensor {
        let y = tap(self.ln_1.forward(x));
        let x = x + dropout(self.attention.forward(&y, mode), self.dropout, mode);
        let y = self.mlp[0].forward(&self.ln_2.forward(&x)).gelu("none");
        let y = self.mlp[1].forward(&dropout(y, self.dropout, mode));
        x + dropout(y, self.dropout, mode)
    }

    fn frozen(&self, precision: Precision) -> Self {
        Self {
            ln_1: self.ln_1.frozen(precision),
            attention: self.attention.frozen(precision),
            ln_2: self.ln_2.frozen(precision),
            mlp: self.mlp.each_ref().map(|linear| linear.frozen(precision)),
            dropout: self.dropout,
        }
    }
}

/// ViT-B/32.
#[derive(Debug)]
pub(crate) struct VisionTransformer {
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
    pub(crate) fn new(path: &Path, num_classes: i64, options: &ModelOptions) -> Self {
        let device = path.device();
        let add = |path: &Path, name: &str, shape: &[i64], init: Init| {
            Variable::from(path.add(name, init.draw(shape, (1, 1), device), true))
        };
        // torchvision truncates this distribution at ±2, a hundred standard deviations away.
        let patch_init = Init::Normal(((3 * PATCH_PX * PATCH_PX) as f64).powf(-0.5));
        let conv_proj = path / "conv_proj";
        let encoder = path / "encoder";
        let layers = &encoder / "layers";
        Self {
            patch_weight: add(&conv_proj, "weight", &[WIDTH, 3, PATCH_PX, PATCH_PX], patch_init),
            patch_bias: add(&conv_proj, "bias", &[WIDTH], Init::Zeros),
            class_token: add(path, "class_token", &[1, 1, WIDTH], Init::Zeros),
            pos_embedding: add(
                &encoder,
                "pos_embedding",
                &[1, 1 + GRID * GRID, WIDTH],
                Init::Normal(0.02),
            ),
            blocks: (0..TAPS.len())
                .map(|i| EncoderBlock::new(&(&layers / format!("encoder_layer_{i}")), options))
                .collect(),
            ln: LayerNorm::new(&(&encoder / "ln"), WIDTH, LAYER_NORM_EPS),
            head: Linear::new(
                &(path / "heads" / "head"),
                WIDTH,
                num_classes,
                Init::Zeros,
                Init::Zeros,
            ),
            dropout: options.dropout,
        }
    }
}

impl Backbone for VisionTransformer {
    fn forward_probed(&self, images: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
        let patches = images.conv2d(&self.patch_weight, Some(&*self.patch_bias), PATCH_PX, 0, 1, 1); // [B,WIDTH,h,w]
        let (batch, grid) = (patches.size()[0], [patches.size()[2], patches.size()[3]]);
        let class_token = self.class_token.expand([batch, 1, WIDTH], false);
        let tokens = Tensor::cat(&[class_token, to_tokens(&patches)], 1);
        let positions = resize_pos_embedding(&self.pos_embedding, grid).to_kind(tokens.kind());
        let tokens = tokens + positions;
        let mut x = dropout(tokens, self.dropout, mode); // [B,1+h·w,WIDTH]
        for (block, name) in self.blocks.iter().zip(TAPS) {
            if mode == Mode::TrainCheckpointed {
                let block = block.clone();
                x = recomputed(&x, move |x, mode| block.forward(x, mode, |y| y));
                continue;
            }
            x = block.forward(&x, mode, |y| {
                let map = probe.tap(name, to_map(&y.narrow(1, 1, grid[0] * grid[1]), grid));
                Tensor::cat(&[y.narrow(1, 0, 1), to_tokens(&map)], 1)
            });
        }
        // The final normalisation works token by token, and only the class token is read.
        let class_token = x.select(1, 0).to_kind(self.head.kind());
        self.head.forward(&self.ln.forward(&class_token))
    }

    fn cam_layer(&self) -> &'static str {
        TAPS[TAPS.len() - 1]
    }
}

impl Network for VisionTransformer {
    /// Layer normalisation depends on its input: there is nothing to fold.
    fn inference_form(&self, precision: Precision) -> Box<dyn Backbone> {
        Box::new(Self {
            patch_weight: frozen(&self.patch_weight, precision),
            patch_bias: frozen(&self.patch_bias, precision),
            class_token: frozen(&self.class_token, precision),
            // Resized where images have another size, and cast then.
            pos_embedding: frozen(&self.pos_embedding, Precision::F32),
            blocks: self.blocks.iter().map(|block| block.frozen(precision)).collect(),
            ln: self.ln.frozen(Precision::F32),
            head: self.head.frozen(Precision::F32),
            dropout: self.dropout,
        })
    }
}

/// Position embeddings `[1,1+n·n,C]` for a grid of another size, `[1,1+h·w,C]`: bicubic, corners
/// aligned, as torchvision resizes them; the class token's stays.
pub(crate) fn resize_pos_embedding(embedding: &Tensor, grid: [i64; 2]) -> Tensor {
    let (_, tokens, _) = dims3(embedding);
    let side = ((tokens - 1) as f64).sqrt() as i64;
    if grid == [side, side] {
        return embedding.shallow_clone();
    }
    let map = to_map(&embedding.narrow(1, 1, side * side), [side, side]);
    let map = map.upsample_bicubic2d(grid, true, None, None);
    Tensor::cat(&[embedding.narrow(1, 0, 1), to_tokens(&map)], 1)
}

/// Whether `size` is that of position embeddings for square images, of any number of patches.
pub(crate) fn is_pos_embedding(size: &[i64]) -> bool {
    let &[1, tokens, WIDTH] = size else { return false };
    let side = ((tokens - 1) as f64).sqrt().round() as i64;
    side > 0 && side * side == tokens - 1
}

/// `[B,C,h,w] -> [B,h·w,C]`.
fn to_tokens(map: &Tensor) -> Tensor {
    map.flatten(2, 3).transpose(1, 2)
}

/// `[B,h·w,C] -> [B,C,h,w]`.
fn to_map(tokens: &Tensor, [height, width]: [i64; 2]) -> Tensor {
    let (batch, _, channels) = dims3(tokens);
    tokens.transpose(1, 2).reshape([batch, channels, height, width])
}

/// Size of a tensor of three dimensions.
fn dims3(x: &Tensor) -> (i64, i64, i64) {
    let size = x.size();
    (size[0], size[1], size[2])
}
