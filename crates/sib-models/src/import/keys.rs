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

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn torchvision_keys(arch: Arch) -> Vec<String> {
        let path = sib_core::testing::golden_path(&format!("models_{arch}_keys.txt"));
        let text = std::fs::read_to_string(path).expect("golden file");
        text.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
    }

    /// The keys after translation of those that `respell` makes of torchvision's.
    fn translated(arch: Arch, respell: impl Fn(&str) -> String) -> (usize, Vec<String>) {
        let keys = torchvision_keys(arch);
        let state: BTreeMap<_, _> =
            keys.iter().map(|key| (respell(key), Tensor::from(0.0))).collect();
        let changed = keys.iter().filter(|key| !state.contains_key(*key)).count();
        (changed, translate(state, arch).unwrap().0.into_keys().collect())
    }

    #[test]
    fn today_s_keys_stay() {
        for arch in Arch::ALL {
            assert_eq!(translated(arch, str::to_owned), (0, torchvision_keys(arch)));
        }
    }

    #[test]
    fn densenet_s_old_keys_are_translated() {
        let old = |key: &str| {
            let mut key = key.to_owned();
            if key.contains("denselayer") {
                for part in ["norm1", "norm2", "conv1", "conv2"] {
                    let (word, number) = part.split_at(4);
                    key = key.replace(&format!(".{part}."), &format!(".{word}.{number}."));
                }
            }
            key
        };
        // In each of 58 dense layers: two norms of 5 tensors and two convolutions.
        let (changed, keys) = translated(Arch::DenseNet121, old);
        assert_eq!((changed, keys), (58 * 12, torchvision_keys(Arch::DenseNet121)));
    }

    #[test]
    fn timm_s_and_old_torchvision_s_vit_keys_are_translated() {
        let timm = |key: &str| match key {
            "class_token" => "cls_token".to_owned(),
            "encoder.pos_embedding" => "pos_embed".to_owned(),
            _ => {
                if let Some(rest) = key.strip_prefix("encoder.layers.encoder_layer_") {
                    format!("blocks.{rest}")
                        .replace("ln_", "norm")
                        .replace("self_attention.in_proj_", "attn.qkv.")
                        .replace("self_attention.out_proj", "attn.proj")
                        .replace("mlp.0", "mlp.fc1")
                        .replace("mlp.3", "mlp.fc2")
                } else {
                    key.replace("conv_proj", "patch_embed.proj")
                        .replace("encoder.ln.", "norm.")
                        .replace("heads.head.", "head.")
                }
            }
        };
        assert_eq!(timm("encoder.layers.encoder_layer_3.mlp.0.bias"), "blocks.3.mlp.fc1.bias");
        let keys = torchvision_keys(Arch::VitB32);
        assert_eq!(translated(Arch::VitB32, timm), (152, keys.clone()));
        let old = |key: &str| key.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2");
        assert_eq!(translated(Arch::VitB32, old), (48, keys));
    }

    #[test]
    fn position_embeddings_of_another_size_are_resized_and_reported() {
        let embedding = Tensor::ones([1, 1 + 12 * 12, 4], (Kind::Float, Device::Cpu));
        let state = BTreeMap::from([("pos_embed".to_owned(), embedding)]);
        let (state, resized) = translate(state, Arch::VitB32).unwrap();
        assert_eq!(state["encoder.pos_embedding"].size(), [1, 50, 4]);
        assert_eq!(resized[0].have, [1, 145, 4]);
        // Bicubic weights sum to one.
        let error = (&state["encoder.pos_embedding"] - 1.0).abs().max();
        assert!(error.double_value(&[]) < 1e-6);
    }

    #[test]
    fn two_spellings_of_one_tensor_are_refused() {
        let state = ["cls_token", "class_token"].map(|key| (key.to_owned(), Tensor::from(0.0)));
        assert!(translate(state.into(), Arch::VitB32).is_err());
    }
}
