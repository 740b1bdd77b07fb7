//! How networks are told apart where they are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf, absolute};

use anyhow::{Result, anyhow, bail};

use super::called::Called;
use super::{Evaluation, Run};
use crate::error::with_hint;
use crate::network::Training;

/// How networks are told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Naming {
    /// By how they were trained, as the paper does: one baseline, one S-IB network a dataset and architecture.
    #[default]
    ByTraining,
    /// By name: one that was given, or that of its run's folder without dataset and seed.
    ByName {
        /// The network that the others are compared with.
        baseline: String,
        /// Names that were given, in their order.
        given: Vec<Given>,
    },
}

/// A name for the networks of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The name.
    pub name: String,
    /// The folder; networks that were trained below it, and evaluations and heatmaps that lie there.
    pub folder: PathBuf,
}

impl Given {
    /// `NAME=DIR`.
    ///
    /// # Errors
    /// For anything else.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, folder)) if !name.trim().is_empty() && !folder.is_empty() => {
                Ok(Self { name: name.trim().to_owned(), folder: folder.into() })
            }
            _ => Err("expected NAME=DIR".to_owned()),
        }
    }
}

/// What is known of a network that is to be called something.
struct Subject<'s> {
    /// Folder of the run, or of the evaluation.
    folder: &'s Path,
    /// The network's file, or its run's folder.
    network: &'s Path,
    dataset: &'s str,
    seed: Option<u64>,
}

impl Naming {
    /// Names `runs` and `evaluations`.
    ///
    /// # Errors
    /// By name, when none is the baseline, or one name stands for networks that were trained in different ways.
    pub fn apply(&self, runs: &mut [Run], evaluations: &mut [Evaluation]) -> Result<()> {
        let Self::ByName { baseline, given } = self else { return Ok(()) };
        if runs.is_empty() && evaluations.is_empty() {
            return Ok(());
        }
        let name = |subject: Subject<'_>| {
            let of_given = given.iter().find(|one| subject.is_in(&one.folder));
            of_given.map_or_else(|| subject.own_name(), |one| one.name.clone())
        };
        let of_runs = runs.iter_mut().map(|run| (name(Subject::of_run(run)), &mut run.called));
        let of_evaluations =
            evaluations.iter_mut().map(|one| (name(Subject::of_evaluation(one)), &mut one.called));
        let mut members = BTreeMap::<String, Vec<&mut Called>>::new();
        for (name, called) in of_runs.chain(of_evaluations) {
            members.entry(name).or_default().push(called);
        }
        if !members.contains_key(baseline) {
            let known: Vec<&str> = members.keys().map(String::as_str).collect();
            let error =
                anyhow!("--baseline {baseline}: no such network, only {}", known.join(", "));
            return Err(with_hint(
                error,
                "a network is called like its run's folder, without dataset and seed, or by --as NAME=DIR",
            ));
        }
        let rank = |name: &String| given.iter().position(|one| one.name == *name);
        let mut order: Vec<String> = members.keys().cloned().collect();
        order.sort_by_key(|name| (name != baseline, rank(name).unwrap_or(given.len())));
        for (name, members) in members {
            let trainings: BTreeSet<Training> = members.iter().map(|one| one.training).collect();
            if trainings.len() > 1 {
                let trainings: Vec<_> = trainings.into_iter().map(Training::name).collect();
                bail!("{name}: what is called this was trained as {}", trainings.join(" and as "));
            }
            let place = order.iter().position(|one| *one == name).unwrap_or(order.len());
            for called in members {
                called.place = place;
                called.title.clone_from(&name);
                called.name.clone_from(&name);
            }
        }
        Ok(())
    }
}

impl<'s> Subject<'s> {
    fn of_run(run: &'s Run) -> Self {
        let folder = &run.record.path;
        Self { folder, network: folder, dataset: run.dataset(), seed: run.config.train.seed }
    }

    fn of_evaluation(evaluation: &'s Evaluation) -> Self {
        let network = &evaluation.description.network;
        Self {
            folder: &evaluation.path,
            network: &network.checkpoint,
            dataset: evaluation.description.dataset.name.as_str(),
            seed: network.train_seed,
        }
    }

    fn is_in(&self, folder: &Path) -> bool {
        // A checkpoint may have gone since it was evaluated.
        let whole = |path: &Path| {
            path.canonicalize().or_else(|_| absolute(path)).unwrap_or_else(|_| path.to_owned())
        };
        let folder = whole(folder);
        [self.folder, self.network].into_iter().any(|path| whole(path).starts_with(&folder))
    }

    /// The name of the run's folder, or of a network's file elsewhere, without the dataset before it and the seed
    /// behind it, which say in which place of a comparison it stands.
    fn own_name(&self) -> String {
        let mut above = self.network.ancestors();
        let checkpoints = above.find(|it| it.file_name().is_some_and(|name| name == "checkpoints"));
        let name = match checkpoints.and_then(Path::parent) {
            Some(run) => run.file_name(),
            None if self.network == self.folder => self.folder.file_name(),
            None => self.network.file_stem(),
        };
        let name = name.unwrap_or_default().to_string_lossy();
        let seed = self.seed.map_or(String::new(), |seed| format!("-{seed}"));
        let own = name.strip_suffix(&seed).filter(|rest| !rest.is_empty()).unwrap_or(&name);
        own.strip_prefix(&format!("{}-", self.dataset))
            .filter(|rest| !rest.is_empty())
            .unwrap_or(own)
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(network: &str, seed: Option<u64>) -> Subject<'_> {
        Subject { folder: Path::new("e"), network: Path::new(network), dataset: "pets", seed }
    }

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
            assert_eq!(subject(checkpoint, seed).own_name(), expected);
        }
        let run = Path::new("runs/pets-layer3.b-43");
        let run = Subject { folder: run, network: run, dataset: "pets", seed: Some(43) };
        assert_eq!(run.own_name(), "layer3.b");
    }

    #[test]
    fn a_given_name_is_that_of_what_was_trained_or_lies_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let network = folder.path().join("a/run/checkpoints/gone.safetensors");
        let subject = subject(network.to_str().unwrap(), None);
        assert!(subject.is_in(&folder.path().join("a")));
        assert!(!subject.is_in(&folder.path().join("a/r")));
        assert_eq!(
            Given::parse("ours = b=c"),
            Ok(Given { name: "ours".into(), folder: " b=c".into() })
        );
        assert!(Given::parse("=a").is_err() && Given::parse("a").is_err());
    }
}
