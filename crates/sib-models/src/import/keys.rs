//! The keys of other releases and libraries, as torchvision spells them today.

use std::collections::{BTreeMap, HashSet};

use tch::{Kind, Tensor};

use super::Problem;
use crate::model::{LoadReport, Reshaped};
use crate::{Arch, vit};

/// Parts of keys and what they are called today, replaced in this order; a key must begin with a
/// part whose first character is `^`.
type Renames = &'static [(&'static str, &'static str)];

/// torchvision's DenseNet files of before 2018: `denselayer1.norm.1` for `denselayer1.norm1`.
/// (timm's names are torchvision's.)
const DENSENET: Renames = &[
    (".norm.1.", ".norm1."),
    (".norm.2.", ".norm2."),
    (".conv.1.", ".conv1."),
    (".conv.2.", ".conv2."),
];

/// timm's `vit_base_patch32_*`, and the multi-layer perceptron of torchvision before 0.13.
const VIT: Renames = &[
    ("^cls_token", "class_token"),
    ("^pos_embed", "encoder.pos_embedding"),
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
];

/// The state dict under today's keys of `arch`, and the position embeddings of another image size
/// that were resized to those of 224 px.
pub(super) fn translate(
    state: BTreeMap<String, Tensor>,
    arch: Arch,
) -> Result<(BTreeMap<String, Tensor>, Vec<Reshaped>), Problem> {
    let renames = match arch {
        Arch::ResNet18 | Arch::ResNet50 => &[],
        Arch::DenseNet121 => DENSENET,
        Arch::VitB32 => VIT,
    };
    let mut renamed = BTreeMap::new();
    for (key, tensor) in state {
        let key = rename(key, renames);
        if renamed.contains_key(&key) {
            return Err(format!("has two tensors that are {key:?} of {arch}"));
        }
        renamed.insert(key, tensor);
    }
    let mut resized = Vec::new();
    let name = "encoder.pos_embedding";
    if arch == Arch::VitB32
        && let Some(embedding) = renamed.get_mut(name)
        && let &[1, tokens, _] = &embedding.size()[..]
        && let want = 1 + vit::GRID * vit::GRID
        && tokens != want
        && is_square(tokens - 1)
    {
        let have = embedding.size();
        *embedding = vit::resize_pos_embedding(embedding, [vit::GRID, vit::GRID]);
        resized.push(Reshaped { name: name.to_owned(), have, want: embedding.size() });
    }
    Ok((renamed, resized))
}

fn rename(mut key: String, renames: Renames) -> String {
    for (old, new) in renames {
        match old.strip_prefix('^') {
            Some(start) => {
                // `cls_token` and `pos_embed` are whole keys, the others end in a full stop.
                if let Some(rest) = key.strip_prefix(start)
                    && (start.ends_with('.') || rest.is_empty())
                {
                    key = format!("{new}{rest}");
                }
            }
            None => key = key.replacen(old, new, 1),
        }
    }
    key
}

fn is_square(number: i64) -> bool {
    let root = (number as f64).sqrt().round() as i64;
    root > 0 && root * root == number
}

/// Adds batch counters of zero where `state` has none, as PyTorch does with files of before 0.4.1,
/// and counts them.
pub(super) fn add_batch_counters(
    state: &mut BTreeMap<String, Tensor>,
    variables: &BTreeMap<String, Tensor>,
) -> usize {
    let before = state.len();
    for key in variables.keys().filter(|key| key.ends_with(".num_batches_tracked")) {
        let has_norm = state.contains_key(&key.replace("num_batches_tracked", "running_mean"));
        if has_norm && !state.contains_key(key) {
            state.insert(key.clone(), Tensor::from(0_i64).to_kind(Kind::Int64));
        }
    }
    state.len() - before
}

/// Why a file whose tensors fit as far as `report` says is still not `arch`: a tensor of the
/// network is missing, or there are more blocks of the network's own kinds than it has.
pub(super) fn foreign_part(
    report: &LoadReport,
    variables: &BTreeMap<String, Tensor>,
    arch: Arch,
) -> Option<Problem> {
    let in_head = |key: &&String| key.strip_prefix(arch.head()).is_some_and(|s| s.starts_with('.'));
    if let Some(key) = report.missing.iter().find(|key| !in_head(key)) {
        let number = report.missing.len();
        return Some(format!("not {arch}: lacks {number} of its tensors, the first is {key:?}"));
    }
    let patterns: HashSet<_> = variables.keys().map(|key| pattern(key)).collect();
    let surplus = report.unexpected.iter().find(|key| patterns.contains(&pattern(key)))?;
    Some(format!("not {arch}: has {surplus:?}, a part that {arch} lacks"))
}

/// The key with every number replaced: the same for all blocks of a kind.
fn pattern(key: &str) -> String {
    let mut pattern = String::with_capacity(key.len());
    for character in key.chars() {
        if !character.is_ascii_digit() {
            pattern.push(character);
        } else if !pattern.ends_with('#') {
            pattern.push('#');
        }
    }
    pattern
}
