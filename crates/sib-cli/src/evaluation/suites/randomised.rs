//! The network with its last layers initialised anew, for the sanity check of Adebayo et al. (2018,
//! arXiv:1810.03292): heatmaps that explain the network must change with it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use sib_core::Backbone;
use sib_models::{Arch, Model, ModelOptions, Precision};
use tch::Tensor;

/// The two steps of the cascade, in their inference form.
#[derive(Debug)]
pub struct Randomised {
    /// The final linear layer is new.
    pub head: Box<dyn Backbone>,
    /// The final linear layer and the last stage are new.
    pub last_stage: Box<dyn Backbone>,
}

impl Randomised {
    /// Copies `model` but for the layers that are drawn from `seed`.
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    pub fn of(model: &Model, seed: u64) -> Result<Self> {
        let [head, last_stage] = prefixes(model.arch());
        Ok(Self {
            head: without(model, &head, seed)?.inference_form(Precision::F32),
            last_stage: without(model, &last_stage, seed)?.inference_form(Precision::F32),
        })
    }
}

/// State-dict prefixes of what is new in each step.
fn prefixes(arch: Arch) -> [Vec<&'static str>; 2] {
    let both = arch.last_stage().iter().copied().chain([arch.head()]).collect();
    [vec![arch.head()], both]
}

/// A new network that keeps of `model` all but the tensors under `prefixes`.
fn without(model: &Model, prefixes: &[&str], seed: u64) -> Result<Model> {
    tch::manual_seed(seed as i64);
    let options = ModelOptions::default();
    let new = Model::new(model.arch(), model.num_classes(), model.device(), &options)?;
    let is_new = |name: &str| {
        prefixes.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(|r| r.starts_with('.')))
    };
    for (_, weight) in new.state_dict().into_iter().filter(|(name, _)| is_new(name)) {
        // A head of zeros, as ViT's is at first, explains nothing: every map would be flat.
        if weight.dim() == 2 && weight.count_nonzero(None).int64_value(&[]) == 0 {
            let bound = 1.0 / (weight.size()[1] as f64).sqrt(); // PyTorch's Linear
            let _ = tch::no_grad(|| weight.shallow_clone().uniform_(-bound, bound));
        }
    }
    let mut kept: BTreeMap<String, Tensor> = model.state_dict();
    kept.retain(|name, _| !is_new(name));
    new.load_state_dict(&kept, Path::new("the network"))?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use sib_core::testing::fill_by_formula;
    use tch::Device;

    use super::*;

    #[test]
    fn the_head_and_then_the_last_stage_are_new_and_nothing_else() {
        for arch in Arch::ALL {
            let mut model = Model::new(arch, 3, Device::Cpu, &ModelOptions::default()).unwrap();
            // Not another fresh network: ViT's head starts at zero every time.
            fill_by_formula(model.variables_mut());
            let [without_head, without_stage] =
                prefixes(arch).map(|prefixes| without(&model, &prefixes, 2).unwrap());
            let changed = |other: &Model| -> Vec<String> {
                let other = other.state_dict();
                let mut names: Vec<String> = model
                    .parameters()
                    .into_iter()
                    .filter(|(name, value)| value.dim() > 1 && !value.equal(&other[name]))
                    .map(|(name, _)| name)
                    .collect();
                names.sort();
                names
            };
            let head = format!("{}.weight", arch.head());
            let drawn = &without_head.state_dict()[&head];
            assert!(drawn.std(false).double_value(&[]) > 1e-3, "{arch}");
            assert_eq!(changed(&without_head), std::slice::from_ref(&head), "{arch}");
            let last_stage = changed(&without_stage);
            assert!(last_stage.len() > 2 && last_stage.contains(&head), "{arch}: {last_stage:?}");
            let expected = |name: &String| {
                *name == head || arch.last_stage().iter().any(|stage| name.starts_with(stage))
            };
            assert!(last_stage.iter().all(expected), "{arch}: {last_stage:?}");
        }
    }
}
