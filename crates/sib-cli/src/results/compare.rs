//! What may stand beside one another: values of different networks that were measured alike, of each
//! network once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, anyhow};

use super::titles::{Label, arch_label, dataset_label};
use super::{Called, Evaluation, Run};
use crate::dotted::{self, Difference, Settings};
use crate::error::with_hint;
use crate::evaluation::suite::Suite;
use crate::network::{recipe, unlike_lengths};

/// Where a value is from: the network, and how it was measured.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Folder that it was read from.
    pub path: PathBuf,
    /// Dataset.
    pub dataset: String,
    /// Architecture.
    pub arch: String,
    /// What the network is called.
    pub called: Called,
    /// Seed of its training.
    pub seed: Option<u64>,
    /// Length of its training, where it is known.
    pub epochs: Option<u64>,
    /// What its training shares with others of that name, as far as it is known.
    pub recipe: Settings,
    /// All settings that values must share to stand beside one another.
    pub settings: Settings,
}

impl Origin {
    /// Of the values of a suite.
    ///
    /// # Errors
    /// When settings cannot be written as TOML.
    pub fn of_evaluation(evaluation: &Evaluation, suite: Suite) -> Result<Self> {
        let (network, dataset) = (&evaluation.description.network, &evaluation.description.dataset);
        Ok(Self {
            path: evaluation.path.clone(),
            dataset: dataset.name.to_string(),
            arch: network.arch.clone(),
            called: evaluation.called.clone(),
            seed: network.train_seed,
            epochs: network.epochs,
            recipe: network.recipe.clone(),
            settings: evaluation.comparable(suite)?,
        })
    }

    /// Of what a run logged, which others of the same `settings` may stand beside.
    pub fn of_run(run: &Run, settings: Settings) -> Self {
        Self {
            path: run.record.path.clone(),
            dataset: run.dataset().to_owned(),
            arch: run.config.model.arch.clone(),
            called: run.called.clone(),
            seed: run.config.train.seed,
            epochs: run.config.train.epochs,
            recipe: recipe(&run.settings),
            settings,
        }
    }

    /// Which network of its dataset and architecture it is.
    pub fn network(&self) -> (Called, Option<u64>) {
        (self.called.clone(), self.seed)
    }

    /// Checks that a value of `other` may stand beside one of this.
    ///
    /// # Errors
    /// When they were measured with different settings, which are named.
    pub fn expect_comparable(&self, other: &Self) -> Result<()> {
        let differences = dotted::differences(&self.settings, &other.settings);
        if differences.is_empty() {
            return Ok(());
        }
        let problem =
            format!("measured with different settings, {}", dotted::in_words(&differences));
        Err(self.apart(other, &problem, "were measured alike"))
    }

    /// Checks that the network of `other` may be called as this one is.
    ///
    /// # Errors
    /// When it was trained in another way; the settings are named.
    fn expect_same_recipe(&self, other: &Self) -> Result<()> {
        // Versions differ in which settings there are.
        let known =
            |it: &Difference<'_>| it.first != dotted::NOT_SET && it.second != dotted::NOT_SET;
        let mut differences = dotted::differences(&self.recipe, &other.recipe);
        differences.retain(known);
        if differences.is_empty() {
            return Ok(());
        }
        let problem = format!(
            "both called {}, trained with other settings, {}",
            self.called.title,
            dotted::in_words(&differences)
        );
        Err(self.apart(
            other,
            &problem,
            "are of networks trained alike, or tell them apart by --baseline NAME or --as NAME=DIR",
        ))
    }

    /// That this and `other` are of one network, which has one place.
    pub fn same_network(&self, other: &Self) -> anyhow::Error {
        let Self { dataset, arch, called, seed, .. } = self;
        let seed = seed.map_or("unknown".to_owned(), |seed| seed.to_string());
        let problem =
            format!("both of {} {arch} on {dataset} with training seed {seed}", called.name);
        self.apart(
            other,
            &problem,
            "are of different networks, or tell them apart by --baseline NAME",
        )
    }

    fn apart(&self, other: &Self, problem: &str, wanted: &str) -> anyhow::Error {
        let error = anyhow!("{} and {}: {problem}", self.path.display(), other.path.display());
        with_hint(error, format!("give --runs a folder whose results {wanted}"))
    }
}

/// Checks that those of one dataset, architecture and name were trained alike, so that they differ by their seeds alone.
///
/// # Errors
/// When two were not; the settings are named.
pub fn expect_one_recipe_a_name<'o>(origins: impl IntoIterator<Item = &'o Origin>) -> Result<()> {
    let mut first = BTreeMap::<(&str, &str, &Called), &Origin>::new();
    origins.into_iter().try_for_each(|origin| {
        let place = (&*origin.dataset, &*origin.arch, &origin.called);
        first.entry(place).or_insert(origin).expect_same_recipe(origin)
    })
}

/// What was measured of one network.
#[derive(Debug)]
pub struct Measured<T> {
    /// Of which, and how.
    pub origin: Origin,
    /// The values.
    pub values: T,
}

/// The networks of one dataset and architecture, by name and seed.
#[derive(Debug)]
pub struct Group<T> {
    /// Dataset and architecture.
    pub title: String,
    members: BTreeMap<(Called, Option<u64>), Measured<T>>,
}

impl<T> Group<T> {
    /// What its networks are called, in the order in which they are shown.
    pub fn called(&self) -> Vec<&Called> {
        let mut called: Vec<&Called> = self.members.keys().map(|(called, _)| called).collect();
        called.dedup();
        called
    }

    /// The networks of one name, in the order of their seeds.
    pub fn of(&self, called: &Called) -> impl Iterator<Item = &Measured<T>> {
        self.members.values().filter(move |member| member.origin.called == *called)
    }

    /// In what its networks differ besides their training; `None` where in nothing.
    pub fn unlike_lengths(&self) -> Option<String> {
        let origins = self.members.values().map(|member| &member.origin);
        unlike_lengths(origins.filter_map(|origin| Some((&*origin.called.title, origin.epochs?))))
    }
}

/// Groups in the order of the tables.
///
/// # Errors
/// When two are of the same network and seed, those of a group were measured with different settings, or those of a name
/// trained with different ones.
pub fn grouped<T>(all: Vec<Measured<T>>) -> Result<Vec<Group<T>>> {
    expect_one_recipe_a_name(all.iter().map(|one| &one.origin))?;
    let mut groups = BTreeMap::<(Label, Label), Group<T>>::new();
    for one in all {
        let place = (dataset_label(&one.origin.dataset), arch_label(&one.origin.arch));
        let title = format!("{}, {}", place.0.1, place.1.1);
        let group = groups.entry(place).or_insert(Group { title, members: BTreeMap::new() });
        for other in group.members.values() {
            other.origin.expect_comparable(&one.origin)?;
        }
        let key = one.origin.network();
        if let Some(other) = group.members.get(&key) {
            return Err(other.origin.same_network(&one.origin));
        }
        group.members.insert(key, one);
    }
    Ok(groups.into_values().collect())
}

/// Evaluations of `suite` that were measured alike, in sets.
///
/// # Errors
/// When settings cannot be written as TOML.
pub fn alike(evaluations: &[Evaluation], suite: Suite) -> Result<Vec<Vec<&Evaluation>>> {
    let mut sets = BTreeMap::<Settings, Vec<&Evaluation>>::new();
    for evaluation in evaluations.iter().filter(|evaluation| evaluation.has(suite)) {
        sets.entry(evaluation.comparable(suite)?).or_default().push(evaluation);
    }
    Ok(sets.into_values().collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::network::Training;

    pub(crate) fn measured(training: Training, seed: u64, settings: &str) -> Measured<f64> {
        let origin = Origin {
            path: format!("{training}-{seed}").into(),
            dataset: "pets".to_owned(),
            arch: "resnet18".to_owned(),
            called: training.into(),
            seed: Some(seed),
            epochs: Some(10 * seed),
            recipe: Settings::from([("train.batch_size".to_owned(), "32".to_owned())]),
            settings: Settings::from([("images".to_owned(), settings.to_owned())]),
        };
        Measured { origin, values: seed as f64 }
    }

    #[test]
    fn a_group_holds_each_network_once_and_what_can_be_compared() {
        use Training::{Baseline, SIb};
        let all = vec![measured(SIb, 2, "b"), measured(Baseline, 1, "b"), measured(SIb, 1, "b")];
        let groups = grouped(all).unwrap();
        assert_eq!((groups.len(), groups[0].title.as_str()), (1, "Oxford-IIIT Pet, ResNet-18"));
        let seeds: Vec<f64> = groups[0].of(&SIb.into()).map(|member| member.values).collect();
        assert_eq!(seeds, [1.0, 2.0]);

        let twice = grouped(vec![measured(SIb, 1, "b"), measured(SIb, 1, "b")]).unwrap_err();
        assert!(format!("{twice:#}").contains("s-ib-1 and s-ib-1: both of s-ib resnet18 on pets"));
        let unlike = grouped(vec![measured(SIb, 1, "b"), measured(SIb, 2, "c")]).unwrap_err();
        assert!(format!("{unlike:#}").contains("different settings, images: b against c"));
    }

    #[test]
    fn networks_of_one_name_differ_by_their_seeds_alone() {
        use Training::{Baseline, SIb};
        let of = |training, seed, batch_size: &str| {
            let mut one = measured(training, seed, "b");
            one.origin.recipe = Settings::from([("train.batch_size".into(), batch_size.into())]);
            one
        };
        let refused = grouped(vec![of(SIb, 1, "32"), of(SIb, 2, "64")]).unwrap_err();
        let expected =
            "both called S-IB, trained with other settings, train.batch_size: 32 against 64";
        assert!(format!("{refused:#}").contains(expected), "{refused:#}");
        grouped(vec![of(SIb, 1, "32"), of(Baseline, 2, "64")]).unwrap();
        // What a version did not know.
        let mut older = of(SIb, 3, "32");
        older.origin.recipe = Settings::from([("sib.every".into(), "2".into())]);
        grouped(vec![of(SIb, 1, "32"), older]).unwrap();
    }
}
