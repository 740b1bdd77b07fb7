//! What a network is called beside others.

use std::path::Path;

use crate::results::Evaluation;

/// The name of the evaluated network: that of its run's folder, or of a file elsewhere, without what all networks of a
/// comparison have in common by their places in it, the dataset before it and the seed behind it.
pub(super) fn of(evaluation: &Evaluation) -> String {
    let network = &evaluation.description.network;
    let dataset = evaluation.description.dataset.name.as_str();
    without(&folder(&network.checkpoint), dataset, network.train_seed)
}

/// The folder of the run that the checkpoint lies in; a file that lies in none has its own name.
fn folder(checkpoint: &Path) -> String {
    let mut above = checkpoint.ancestors();
    let in_run = above.find(|it| it.file_name().is_some_and(|name| name == "checkpoints"));
    let named = in_run.and_then(Path::parent).unwrap_or(checkpoint);
    let name = if in_run.is_some() { named.file_name() } else { named.file_stem() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

fn without(name: &str, dataset: &str, seed: Option<u64>) -> String {
    let seed = seed.map_or(String::new(), |seed| format!("-{seed}"));
    let own = name.strip_suffix(&seed).filter(|rest| !rest.is_empty()).unwrap_or(name);
    own.strip_prefix(&format!("{dataset}-"))
        .filter(|rest| !rest.is_empty())
        .unwrap_or(own)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dataset_and_seed_are_no_part_of_a_name() {
        for (checkpoint, seed, expected) in [
            ("runs/pets-layer3-43/checkpoints/last.safetensors", Some(43), "layer3"),
            ("runs/pets-layer3-43/checkpoints/last.safetensors", Some(3), "layer3-43"),
            ("runs/baseline/checkpoints/best.safetensors", None, "baseline"),
            ("runs/pets/checkpoints/best.safetensors", Some(1), "pets"),
            ("weights/pets-43.safetensors", Some(43), "pets"),
            ("weights/resnet18.safetensors", None, "resnet18"),
        ] {
            assert_eq!(without(&folder(Path::new(checkpoint)), "pets", seed), expected);
        }
    }
}
