//! One cell of a table: a metric of the baseline and of another network, over seeds.

use std::collections::{BTreeMap, BTreeSet};

use sib_metrics::{PairedTest, Summary};

use crate::network::unlike_lengths;
use crate::results::Called;

/// Values of one metric by seed of the training, of both networks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cell {
    baseline: BTreeMap<Option<u64>, f64>,
    other: BTreeMap<Option<u64>, f64>,
    /// Why an evaluation came to no value.
    undefined: Option<String>,
    /// Images that both networks have a map of, of how many, for seeds where that is not all.
    common: BTreeSet<(u64, u64)>,
    /// Epochs of training, where they are known.
    epochs: BTreeSet<(Called, u64)>,
}

/// What a cell comes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CellSummary {
    /// Mean over the seeds, of the baseline.
    pub baseline: Option<f64>,
    /// Mean over the seeds, of the other network.
    pub other: Option<f64>,
    /// Mean of other − baseline over the seeds that both have.
    pub difference: Option<f64>,
    /// Seeds that both have.
    pub n_seeds: usize,
    /// Standard error of the difference; none of fewer than two seeds.
    pub standard_error: Option<f64>,
    /// Two-sided p-value of the paired t-test; none of fewer than two seeds, or where all
    /// differences are equal.
    pub p_value: Option<f64>,
}

impl Cell {
    /// Sets the value of one network and seed.
    pub fn set(&mut self, network: &Called, seed: Option<u64>, value: f64) {
        let values = if network.is_baseline() { &mut self.baseline } else { &mut self.other };
        values.insert(seed, value);
    }

    /// Records that only `images` of `of` count: those that both networks of a seed have a map of.
    pub fn set_common(&mut self, images: u64, of: u64) {
        self.common.insert((images, of));
    }

    /// Records for how long a network of the cell was trained.
    pub fn set_epochs(&mut self, network: &Called, epochs: u64) {
        self.epochs.insert((network.clone(), epochs));
    }

    /// Records that an evaluation came to no value, and why.
    pub fn set_undefined(&mut self, reason: &str) {
        self.undefined = Some(reason.to_owned());
    }

    /// Means and the paired difference. Where some seeds have both networks, only these count, so
    /// that the means differ by the difference.
    pub fn summary(&self) -> CellSummary {
        let pairs: Vec<(f64, f64)> = self
            .baseline
            .iter()
            .filter_map(|(seed, &baseline)| Some((baseline, *self.other.get(seed)?)))
            .collect();
        if pairs.is_empty() {
            let mean = |values: &BTreeMap<_, f64>| values.values().copied().collect::<Summary>();
            return CellSummary {
                baseline: mean(&self.baseline).mean(),
                other: mean(&self.other).mean(),
                ..CellSummary::default()
            };
        }
        let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).collect::<Summary>();
        let difference: fn(&(f64, f64)) -> f64 = |(baseline, other)| other - baseline;
        CellSummary {
            baseline: mean(|pair| pair.0).mean(),
            other: mean(|pair| pair.1).mean(),
            difference: mean(difference).mean(),
            n_seeds: pairs.len(),
            standard_error: mean(difference).standard_error(),
            p_value: PairedTest::of(pairs.iter().map(difference)).map(|test| test.p_value),
        }
    }

    /// What must be known beside the numbers: why a side or the difference is missing, and in what the
    /// networks differ besides their training; `None` where there is nothing. `other` is the title of the network
    /// beside the baseline.
    pub fn note(&self, other: &str) -> Option<String> {
        let lengths = self.epochs.iter().map(|(network, epochs)| (&*network.title, *epochs));
        let notes: Vec<String> = [self.missing(other), self.only_common(), unlike_lengths(lengths)]
            .into_iter()
            .flatten()
            .collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    /// Over how many images the networks are compared, where that is not all of them.
    fn only_common(&self) -> Option<String> {
        let counts = self.common.iter().map(|(images, of)| format!("{images} of {of}"));
        let counts = counts.collect::<Vec<_>>().join(" or ");
        (!counts.is_empty())
            .then(|| format!("over the {counts} images that both networks have a map of"))
    }

    /// Why a side or the difference is missing; `None` where nothing is.
    fn missing(&self, other: &str) -> Option<String> {
        let missing = match (self.baseline.is_empty(), self.other.is_empty()) {
            (false, false) if self.summary().n_seeds > 0 => return self.unpaired(),
            (false, false) => {
                format!("the baseline and {other} were trained with different seeds")
            }
            _ if self.undefined.is_some() => "no value".to_owned(),
            (true, true) => "not evaluated".to_owned(),
            (true, false) => "no baseline evaluated".to_owned(),
            (false, true) => format!("no {other} network evaluated"),
        };
        let reason = self.undefined.as_ref().map(|reason| format!(": {reason}"));
        Some(missing + &reason.unwrap_or_default())
    }

    /// Which seeds do not count; `None` where all do.
    fn unpaired(&self) -> Option<String> {
        let (paired, all) = (self.summary().n_seeds, self.baseline.len() + self.other.len());
        let seeds = all - paired;
        let why = self.undefined.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        (seeds > paired).then(|| format!("{paired} of {seeds} seeds have both networks{why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Training;

    fn cell(baseline: &[(u64, f64)], s_ib: &[(u64, f64)]) -> Cell {
        let mut cell = Cell::default();
        for (training, values) in [(Training::Baseline, baseline), (Training::SIb, s_ib)] {
            let network = training.into();
            values.iter().for_each(|&(seed, value)| cell.set(&network, Some(seed), value));
        }
        cell
    }

    #[test]
    fn the_paired_t_test_of_three_seeds() {
        let cell = cell(&[(1, 10.0), (2, 12.0), (3, 11.0)], &[(1, 11.0), (2, 14.0), (3, 14.0)]);
        let summary = cell.summary();
        // Differences 1, 2, 3: mean 2, error 1/√3, t = 2√3 with 2 degrees of freedom, of which
        // p = 1 − t/√(2 + t²).
        assert_eq!((summary.n_seeds, summary.difference), (3, Some(2.0)));
        assert!((summary.standard_error.unwrap() - 3f64.sqrt().recip()).abs() < 1e-14);
        let p = 1.0 - 12f64.sqrt() / 14f64.sqrt();
        assert!((summary.p_value.unwrap() - p).abs() < 1e-12);
        assert_eq!(cell.note("S-IB"), None);
    }

    #[test]
    fn only_seeds_of_both_count_where_there_are_any() {
        let summary = cell(&[(1, 10.0), (2, 50.0)], &[(1, 11.0), (3, 90.0)]).summary();
        assert_eq!((summary.baseline, summary.other), (Some(10.0), Some(11.0)));
        assert_eq!((summary.n_seeds, summary.p_value), (1, None));
        let note = cell(&[(1, 10.0), (2, 50.0)], &[(1, 11.0), (3, 90.0)]).note("S-IB");
        assert_eq!(note.unwrap(), "1 of 3 seeds have both networks");
        let apart = cell(&[(1, 10.0)], &[(2, 11.0)]);
        assert_eq!((apart.summary().other, apart.summary().difference), (Some(11.0), None));
        assert!(apart.note("S-IB").unwrap().contains("different seeds"));
    }

    #[test]
    fn what_is_missing_is_explained() {
        assert_eq!(Cell::default().note("S-IB").unwrap(), "not evaluated");
        assert_eq!(cell(&[(1, 1.0)], &[]).note("S-IB").unwrap(), "no S-IB network evaluated");
        let mut flat = cell(&[], &[(1, 1.0)]);
        flat.set_undefined("flat_heatmap:9");
        assert_eq!(flat.note("S-IB").unwrap(), "no value: flat_heatmap:9");
    }

    #[test]
    fn different_lengths_of_training_are_said() {
        let mut cell = cell(&[(1, 1.0)], &[(1, 2.0)]);
        cell.set_epochs(&Training::Baseline.into(), 2);
        assert_eq!(cell.note("S-IB"), None);
        cell.set_epochs(&Training::SIb.into(), 2);
        assert_eq!(cell.note("S-IB"), None);
        cell.set_epochs(&Training::SIb.into(), 4);
        let note = "trained for different lengths: Baseline for 2 epochs, S-IB for 2 or 4 epochs";
        assert_eq!(cell.note("S-IB").unwrap(), note);
    }
}
