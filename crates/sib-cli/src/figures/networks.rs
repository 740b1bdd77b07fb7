//! The networks that a figure compares: a panel a dataset and architecture, in it both trainings,
//! each with any number of seeds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use sib_metrics::Summary;

use crate::dotted::{self, Settings};
use crate::error::with_hint;
use crate::evaluation::network::{Training, unlike_lengths};
use crate::tables::number::{Label, arch_label, dataset_label};

/// What was measured of one network.
#[derive(Debug)]
pub(super) struct Measured<T> {
    /// Where it was read.
    pub(super) path: PathBuf,
    pub(super) dataset: String,
    pub(super) arch: String,
    pub(super) training: Training,
    pub(super) seed: Option<u64>,
    /// Length of the training, where it is known.
    pub(super) epochs: Option<u64>,
    /// All settings that networks must share to be compared.
    pub(super) settings: Settings,
    pub(super) values: T,
}

/// The networks of one dataset and architecture, by training and seed.
#[derive(Debug)]
pub(super) struct Group<T> {
    pub(super) title: String,
    members: BTreeMap<(Training, Option<u64>), Measured<T>>,
}

impl<T> Group<T> {
    /// The networks of one training, in the order of their seeds.
    pub(super) fn of(&self, training: Training) -> impl Iterator<Item = &Measured<T>> {
        self.members.values().filter(move |member| member.training == training)
    }
}

/// Groups in the order of the tables.
///
/// # Errors
/// When two are of the same training and seed, or those of a group were made with different
/// settings.
pub(super) fn grouped<T>(all: Vec<Measured<T>>) -> Result<Vec<Group<T>>> {
    let mut groups = BTreeMap::<(Label, Label), Group<T>>::new();
    for one in all {
        let place = (dataset_label(&one.dataset), arch_label(&one.arch));
        let title = format!("{}, {}", place.0.1, place.1.1);
        let group = groups.entry(place).or_insert(Group { title, members: BTreeMap::new() });
        if let Some(other) = group.members.values().find(|other| other.settings != one.settings) {
            let differences = dotted::differences(&other.settings, &one.settings);
            let problem = format!("not comparable, {}", dotted::in_words(&differences));
            return Err(apart(&other.path, &one.path, &problem, "are alike"));
        }
        if let Some(other) = group.members.get(&(one.training, one.seed)) {
            let seed = one.seed.map_or("unknown".to_owned(), |seed| seed.to_string());
            let problem = format!(
                "both of {} {} on {} with training seed {seed}",
                one.training, one.arch, one.dataset
            );
            return Err(apart(&other.path, &one.path, &problem, "are of different networks"));
        }
        group.members.insert((one.training, one.seed), one);
    }
    Ok(groups.into_values().collect())
}

fn apart(one: &Path, other: &Path, problem: &str, wanted: &str) -> anyhow::Error {
    let error = anyhow!("{} and {}: {problem}", one.display(), other.display());
    with_hint(error, format!("give --runs a folder whose results {wanted}"))
}

/// Mean and standard error over seeds. Over one seed, the error is the value's own.
pub(super) fn over_seeds(
    values: impl Iterator<Item = (f64, Option<f64>)>,
) -> Option<(f64, Option<f64>)> {
    let mut own_error = None;
    let summary: Summary =
        values.inspect(|(_, error)| own_error = *error).map(|(v, _)| v).collect();
    let error = if summary.n() == 1 { own_error } else { summary.standard_error() };
    Some((summary.mean()?, error))
}

/// The value that all share.
pub(super) fn common<T: PartialEq>(mut values: impl Iterator<Item = Option<T>>) -> Option<T> {
    let first = values.next()??;
    values.all(|value| value.as_ref() == Some(&first)).then_some(first)
}

/// For a note: which groups hold networks that were trained for different lengths; empty where none does.
pub(super) fn lengths_note<T>(groups: &[Group<T>]) -> String {
    let of_group = |group: &Group<T>| {
        let known = group.members.values().filter_map(|one| Some((one.training, one.epochs?)));
        Some(format!(" {}: {}.", group.title, unlike_lengths(known)?))
    };
    groups.iter().filter_map(of_group).collect()
}

/// How many seeds there are, in words for a note.
pub(super) fn seeds_note<T>(groups: &[Group<T>], of_one: &str) -> String {
    let counts = groups.iter().flat_map(|group| {
        [Training::Baseline, Training::SIb].map(|training| group.of(training).count())
    });
    let counts: Vec<usize> = counts.filter(|&count| count > 0).collect();
    let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
    match (least.unwrap_or_default(), most.unwrap_or_default()) {
        (_, 1) => of_one.to_owned(),
        (least, most) if least == most => format!("Mean ± standard error over {most} seeds."),
        (least, most) => format!("Mean ± standard error over {least} to {most} seeds."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(training: Training, seed: u64, settings: &str) -> Measured<f64> {
        Measured {
            path: format!("{training}-{seed}").into(),
            dataset: "pets".to_owned(),
            arch: "resnet18".to_owned(),
            training,
            seed: Some(seed),
            epochs: Some(10 * seed),
            settings: Settings::from([("images".to_owned(), settings.to_owned())]),
            values: seed as f64,
        }
    }

    #[test]
    fn seeds_are_averaged_with_their_standard_error() {
        // Mean 2, deviations −1, 0, 1: variance 1, error 1/√3.
        let (mean, error) =
            over_seeds([1.0, 3.0, 2.0].map(|v| (v, Some(9.0))).into_iter()).unwrap();
        assert_eq!(mean, 2.0);
        assert!((error.unwrap() - 3f64.sqrt().recip()).abs() < 1e-15);
        assert_eq!(over_seeds([(4.0, Some(0.5))].into_iter()), Some((4.0, Some(0.5))));
        assert_eq!(over_seeds([(4.0, None)].into_iter()), Some((4.0, None)));
        assert_eq!(over_seeds(std::iter::empty()), None);
    }

    #[test]
    fn a_group_holds_each_network_once_and_what_can_be_compared() {
        use Training::{Baseline, SIb};
        let all = vec![measured(SIb, 2, "b"), measured(Baseline, 1, "b"), measured(SIb, 1, "b")];
        let groups = grouped(all).unwrap();
        assert_eq!((groups.len(), groups[0].title.as_str()), (1, "Oxford-IIIT Pet, ResNet-18"));
        let seeds: Vec<f64> = groups[0].of(SIb).map(|member| member.values).collect();
        assert_eq!(seeds, [1.0, 2.0]);
        assert_eq!(seeds_note(&groups, "One seed."), "Mean ± standard error over 1 to 2 seeds.");
        let lengths = " Oxford-IIIT Pet, ResNet-18: trained for different lengths: Baseline for 10 epochs, \
                       S-IB for 10 or 20 epochs.";
        assert_eq!(lengths_note(&groups), lengths);
        assert_eq!(lengths_note(&grouped(vec![measured(SIb, 1, "b")]).unwrap()), "");

        let twice = grouped(vec![measured(SIb, 1, "b"), measured(SIb, 1, "b")]).unwrap_err();
        assert!(format!("{twice:#}").contains("s-ib-1 and s-ib-1: both of s-ib resnet18 on pets"));
        let unlike = grouped(vec![measured(SIb, 1, "b"), measured(SIb, 2, "c")]).unwrap_err();
        assert!(format!("{unlike:#}").contains("not comparable, images: b against c"));
    }

    #[test]
    fn a_batch_size_is_named_where_all_share_it() {
        assert_eq!(common([Some(32), Some(32)].into_iter()), Some(32));
        assert_eq!(common([Some(32), Some(64)].into_iter()), None);
        assert_eq!(common([Some(32), None].into_iter()), None);
    }
}
