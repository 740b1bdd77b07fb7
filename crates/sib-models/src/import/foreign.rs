//! Tensors of a file that the network has no place for: those that make it another network are an error,
//! those of what training needs beside it are not.

use super::refusal::Refusal;
use crate::LoadReport;
use crate::blueprint::{Blueprint, is_counter};

/// Words in the names of modules that take no part in the logits.
const HARMLESS: [&str; 31] = [
    "acc",
    "accuracy",
    "averaged",
    "bank",
    "center",
    "centers",
    "centroids",
    "classifier",
    "classifiers",
    "criterion",
    "decoder",
    "discriminator",
    "ema",
    "head",
    "heads",
    "losses",
    "memory",
    "metric",
    "metrics",
    "optimizer",
    "predictor",
    "proj",
    "projection",
    "projector",
    "prototype",
    "prototypes",
    "ptr",
    "queue",
    "scheduler",
    "swa",
    "teacher",
];
/// Their beginnings: `aux_classifier`, `AuxLogits`, `loss_fn`.
const HARMLESS_STARTS: [&str; 3] = ["aux", "criteri", "loss"];
/// Heads whose logits are averaged with the network's own: DeiT's.
const PART_OF_THE_LOGITS: [&str; 1] = ["head_dist"];

/// Endings and parts of keys by which a weight is the function of others, and Python's cure.
const REPARAMETRISED: [(&str, &str); 6] = [
    (".parametrizations.", "torch.nn.utils.parametrize.remove_parametrizations"),
    (".weight_g", "torch.nn.utils.remove_weight_norm"),
    (".weight_v", "torch.nn.utils.remove_weight_norm"),
    (".weight_u", "torch.nn.utils.remove_spectral_norm"),
    (".weight_orig", "torch.nn.utils.prune.remove"),
    (".weight_mask", "torch.nn.utils.prune.remove"),
];

/// Checks what `report` says is missing and unexpected. Modules in `ignore` may be there.
///
/// # Errors
/// A tensor of the network is missing, or there are tensors that make it another network.
pub(super) fn check(
    report: &LoadReport,
    network: &Blueprint,
    ignore: &[String],
) -> Result<(), Refusal> {
    let arch = network.arch();
    let cure = report.unexpected.iter().find_map(|key| {
        let (_, cure) = REPARAMETRISED.iter().find(|(part, _)| key.contains(part))?;
        Some((key, cure))
    });
    if let Some((key, cure)) = cure {
        let problem = format!(
            "{key:?} is a part of a weight, expected the weight itself: call {cure} in Python before \
             saving"
        );
        return Err(problem.into());
    }
    let missing = || report.missing.iter().filter(|key| !network.in_head(key));
    if let Some(key) = missing().find(|key| !is_counter(key)) {
        let number = missing().count();
        let problem = format!("not {arch}: lacks {number} of its tensors, the first is {key:?}");
        return Err(problem.into());
    }
    // Without a head of its own the file's other one says nothing about the rest.
    let without_head = report.missing.iter().any(|key| network.in_head(key));
    let is_foreign =
        |key: &&String| network.is_within(key) && !(without_head && network.in_head(key));
    let mut foreign = report.unexpected.iter().filter(is_foreign);
    if let Some(key) = foreign.next() {
        let problem = format!("not {arch}: has {key:?}, a part that {arch} lacks");
        return Err(match foreign.count() {
            0 => problem,
            more => format!("{problem}, and {more} more"),
        }
        .into());
    }
    let is_ignored = |key: &str| {
        ignore.iter().any(|name| {
            key.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let is_strange =
        |key: &&String| !network.is_within(key) && !is_harmless(key) && !is_ignored(key);
    match report.unexpected.iter().find(is_strange) {
        None => Ok(()),
        Some(key) => {
            let module = key.split('.').next().unwrap_or(key);
            let problem = format!(
                "has {key:?}, for which {arch} has no place and which may be part of the logits"
            );
            Err(Refusal::undecided(problem, "ignore", module))
        }
    }
}

/// Whether the module of `key` is known to take no part in the logits.
fn is_harmless(key: &str) -> bool {
    let module = key.split('.').next().unwrap_or(key).to_ascii_lowercase();
    let mut words = module.split(|character: char| !character.is_ascii_alphabetic());
    !PART_OF_THE_LOGITS.contains(&&*module)
        && (HARMLESS_STARTS.iter().any(|start| module.starts_with(start))
            || words.any(|word| HARMLESS.contains(&word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_training_needs_beside_a_network_is_told_from_parts_of_it() {
        for key in [
            "criterion.weight",
            "loss_fn.centers",
            "aux.fc.weight",
            "aux_classifier.4.bias",
            "AuxLogits.conv0.weight",
            "head2.weight",
            "projection_head.0.weight",
            "n_averaged",
            "queue_ptr",
            "ema.fc.weight",
            "train_acc.total",
        ] {
            assert!(is_harmless(key), "{key}");
        }
        for key in [
            "norm_pre.weight",
            "pre_logits.fc.weight",
            "head_dist.weight",
            "dist_token",
            "maxpool.0.weight",
            "bnneck.weight",
            "normalize.mean",
            "attnpool.c_proj.weight",
            "logit_scale",
        ] {
            assert!(!is_harmless(key), "{key}");
        }
    }
}
