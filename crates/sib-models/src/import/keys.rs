//! The keys of other releases and libraries, as torchvision spells them today.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};

use tch::{Kind, Tensor};

use super::problem::Problem;
use crate::Arch;
use crate::Reshaped;
use crate::blueprint::{Blueprint, is_counter};
use crate::spec::Renames;

/// Today's keys of `arch` for `keys`, pairs of a key and what it is kept with. Of two spellings of one
/// tensor the first is taken, and a problem is given.
pub(super) fn today<'k, T>(
    keys: impl Iterator<Item = (&'k str, T)>,
    arch: Arch,
) -> (BTreeMap<String, T>, Option<Problem>) {
    let renames = arch.spec().renames;
    let mut renamed = BTreeMap::new();
    let mut problem = None;
    for (key, kept) in keys {
        match renamed.entry(rename(key.to_owned(), renames)) {
            Vacant(place) => {
                place.insert(kept);
            }
            Occupied(place) => {
                problem = Some(format!("has two tensors that are {:?} of {arch}", place.key()));
            }
        }
    }
    (renamed, problem)
}

/// Makes the tensors fit that come in other shapes, and says so.
pub(super) fn adapt(state: &mut BTreeMap<String, Tensor>, network: &Blueprint) -> Vec<Reshaped> {
    let mut reshaped = Vec::new();
    for adapted in network.arch().spec().adapted {
        let (name, want) = (adapted.name, network.shape(adapted.name));
        let Some(tensor) = state.get_mut(name) else { continue };
        let have = tensor.size();
        if have != want && (adapted.fits)(&have, want) {
            *tensor = (adapted.adapt)(tensor, want);
            reshaped.push(Reshaped { name: name.to_owned(), have, want: want.to_owned() });
        }
    }
    reshaped
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

/// Adds batch counters of zero where `state` has none, as PyTorch does with files of before 0.4.1,
/// and counts them.
pub(super) fn add_batch_counters(
    state: &mut BTreeMap<String, Tensor>,
    variables: &BTreeMap<String, Tensor>,
) -> usize {
    let before = state.len();
    for key in variables.keys().filter(|key| is_counter(key)) {
        let has_norm = state.contains_key(&key.replace("num_batches_tracked", "running_mean"));
        if has_norm && !state.contains_key(key) {
            state.insert(key.clone(), Tensor::from(0_i64).to_kind(Kind::Int64));
        }
    }
    state.len() - before
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
        let respelled: Vec<String> = keys.iter().map(|key| respell(key)).collect();
        let changed = keys.iter().zip(&respelled).filter(|(key, other)| key != other).count();
        let (names, problem) = today(respelled.iter().map(|key| (key.as_str(), ())), arch);
        assert_eq!(problem, None);
        (changed, names.into_keys().collect())
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
        let embedding = Tensor::ones([1, 1 + 12 * 12, 768], (Kind::Float, Device::Cpu));
        let mut state = BTreeMap::from([("encoder.pos_embedding".to_owned(), embedding)]);
        let resized = adapt(&mut state, Blueprint::of_arch(Arch::VitB32));
        assert_eq!(state["encoder.pos_embedding"].size(), [1, 50, 768]);
        assert_eq!(resized[0].have, [1, 145, 768]);
        // Bicubic weights sum to one.
        let error = (&state["encoder.pos_embedding"] - 1.0).abs().max();
        assert!(error.double_value(&[]) < 1e-6);
    }

    #[test]
    fn timm_s_vgg_is_translated_and_its_convolutions_become_linear_layers() {
        let timm = |key: &str| {
            key.replace("classifier.0.", "pre_logits.fc1.")
                .replace("classifier.3.", "pre_logits.fc2.")
                .replace("classifier.6.", "head.fc.")
        };
        assert_eq!(translated(Arch::Vgg16, timm), (6, torchvision_keys(Arch::Vgg16)));
        let kernels = Tensor::arange(4096 * 25088, (Kind::Float, Device::Cpu));
        let name = "classifier.0.weight".to_owned();
        let mut state = BTreeMap::from([(name.clone(), kernels.reshape([4096, 512, 7, 7]))]);
        let reshaped = adapt(&mut state, Blueprint::of_arch(Arch::Vgg16));
        assert_eq!(reshaped[0].want, [4096, 25088]);
        assert_eq!(state[&name], kernels.reshape([4096, 25088]));
    }

    #[test]
    fn two_spellings_of_one_tensor_are_refused() {
        let keys = ["cls_token", "class_token"].map(|key| (key, ()));
        assert!(today(keys.into_iter(), Arch::VitB32).1.is_some());
    }
}
