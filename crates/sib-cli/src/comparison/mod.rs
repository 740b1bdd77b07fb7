//! Any number of networks beside one of them: what each suite measured, as differences over training seeds.

mod outcome;
mod render;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use sib_metrics::{PairedTest, Summary, holm};

use crate::dotted::Settings;
use crate::evaluation::suite::Suite;
use crate::evaluation::summary_row::SummaryRow;
use crate::results::compare::{Origin, expect_one_recipe_a_name};
use crate::results::titles::{Label, arch_label, dataset_label};
use crate::results::{Called, Evaluation};
use outcome::{Outcome, outcomes};

/// Networks compared, one block for each dataset, architecture, suite and way to measure it.
#[derive(Debug)]
pub struct Comparison {
    /// The network that the others are compared with.
    pub baseline: String,
    /// In the order of datasets, architectures and suites.
    pub blocks: Vec<Block>,
}

/// What was measured alike of networks of one architecture on one dataset.
#[derive(Debug)]
pub struct Block {
    /// Name of the dataset in configurations.
    pub dataset: String,
    /// Name of the architecture.
    pub arch: String,
    /// What was measured.
    pub suite: Suite,
    /// Test images that it was measured on.
    pub images: usize,
    /// The networks beside the baseline, in their order.
    pub networks: Vec<String>,
    /// One for each outcome.
    pub rows: Vec<Row>,
    /// Maps that are missing, in words; empty where none are.
    pub missing: Vec<String>,
}

/// An outcome of all networks of a block.
#[derive(Debug)]
pub struct Row {
    /// What it is.
    pub outcome: Outcome,
    /// Mean over the baseline's seeds.
    pub baseline: Option<f64>,
    /// One for each of the block's networks; none where no seed has both.
    pub differences: Vec<Option<Difference>>,
}

/// How far a network is from the baseline of the same seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Mean over the seeds that both have, of network − baseline.
    pub mean: f64,
    /// Number of these seeds.
    pub seeds: u64,
    /// Of the mean; none of one seed.
    pub standard_error: Option<f64>,
    /// Two-sided, of the paired t-test; none of one seed or where all differences are equal.
    pub p_value: Option<f64>,
    /// The same by Holm's correction for the number of networks compared.
    pub p_holm: Option<f64>,
}

/// Values by outcome, network and seed.
type Values = BTreeMap<Outcome, BTreeMap<Called, BTreeMap<Option<u64>, f64>>>;

/// Evaluations that were made alike, by network and seed: what was measured later joins what was there.
type Set<'e> = BTreeMap<(Called, Option<u64>), Vec<&'e Evaluation>>;

/// Compares the networks of `evaluations` with the one that is called the baseline.
///
/// # Errors
/// When nothing was measured of the baseline and another network alike, or evaluations of one network disagree.
pub fn compare(evaluations: &[Evaluation]) -> Result<Comparison> {
    type Place = (Label, Label, usize, Settings);
    let mut sets = BTreeMap::<Place, (Suite, Set<'_>)>::new();
    for evaluation in evaluations {
        let network = &evaluation.description.network;
        for (number, suite) in
            Suite::ALL.into_iter().enumerate().filter(|(_, it)| evaluation.has(*it))
        {
            let dataset = dataset_label(evaluation.description.dataset.name.as_str());
            let place = (dataset, arch_label(&network.arch), number, evaluation.comparable(suite)?);
            let (_, set) = sets.entry(place).or_insert_with(|| (suite, Set::new()));
            let key = (evaluation.called.clone(), network.train_seed);
            set.entry(key).or_default().push(evaluation);
        }
    }
    let blocks = sets.into_values().map(|(suite, set)| block(suite, &set));
    let blocks: Vec<Option<Block>> = blocks.collect::<Result<_>>()?;
    let blocks: Vec<Block> = blocks.into_iter().flatten().collect();
    let baseline = evaluations.iter().map(|of| &of.called).find(|of| of.is_baseline());
    let baseline = baseline.map_or("the baseline", |of| &of.title).to_owned();
    if blocks.is_empty() {
        bail!("nothing was measured alike of {baseline} and another network");
    }
    Ok(Comparison { baseline, blocks })
}

/// The block of a set; none where it holds not both the baseline and another network.
fn block(suite: Suite, set: &Set<'_>) -> Result<Option<Block>> {
    let mut networks: Vec<&Called> = set.keys().map(|(called, _)| called).collect();
    networks.dedup();
    let Some((first, networks)) = networks.split_first() else { return Ok(None) };
    if !first.is_baseline() || networks.is_empty() {
        return Ok(None);
    }
    let origins = set.values().flatten().map(|of| Origin::of_evaluation(of, suite));
    expect_one_recipe_a_name(&origins.collect::<Result<Vec<_>>>()?)?;
    let (mut values, mut missing) = (Values::new(), Vec::new());
    for ((called, seed), joined) in set {
        for (outcome, value) in outcomes(&summary_of(joined, suite)?, suite) {
            let by_name = values.entry(outcome).or_default();
            by_name.entry(called.clone()).or_default().insert(*seed, value);
        }
        for evaluation in joined {
            let rows = evaluation.summary.iter().filter(|row| row.suite == suite.name());
            let excluded = rows.filter(|row| !row.method.is_empty()).map(|row| row.excluded).max();
            if let Some(excluded) = excluded.filter(|&excluded| excluded > 0) {
                let path = evaluation.path.display();
                missing.push(format!("{path}: up to {excluded} images without a value"));
            }
        }
    }
    let row = |(outcome, by_name): (Outcome, BTreeMap<Called, BTreeMap<Option<u64>, f64>>)| {
        let own = by_name.get(*first).cloned().unwrap_or_default();
        let differences = networks.iter().map(|name| difference(&own, by_name.get(*name)?));
        let mut differences: Vec<Option<Difference>> = differences.collect();
        correct(&mut differences);
        Row { outcome, baseline: own.values().copied().collect::<Summary>().mean(), differences }
    };
    let any = &set.values().next().expect("there is a baseline")[0].description;
    Ok(Some(Block {
        dataset: any.dataset.name.to_string(),
        arch: any.network.arch.clone(),
        suite,
        images: any.dataset.images,
        networks: networks.iter().map(|of| of.title.clone()).collect(),
        rows: values.into_iter().map(row).collect(),
        missing,
    }))
}

/// The rows of all evaluations of one network.
///
/// # Errors
/// When two have different values of a metric.
fn summary_of<'e>(joined: &[&'e Evaluation], suite: Suite) -> Result<Vec<&'e SummaryRow>> {
    let mut rows = BTreeMap::<(&str, &str), (&Evaluation, &SummaryRow)>::new();
    for evaluation in joined {
        for row in evaluation.summary.iter().filter(|row| row.suite == suite.name()) {
            let (other, known) =
                rows.entry((&row.method, &row.metric)).or_insert((evaluation, row));
            if known.value != row.value {
                let [one, other] = [*other, evaluation].map(|of| Origin::of_evaluation(of, suite));
                return Err(one?.same_network(&other?));
            }
        }
    }
    Ok(rows.into_values().map(|(_, row)| row).collect())
}

fn difference(
    baseline: &BTreeMap<Option<u64>, f64>,
    other: &BTreeMap<Option<u64>, f64>,
) -> Option<Difference> {
    let pairs = baseline.iter().filter_map(|(seed, own)| Some(other.get(seed)? - own));
    let pairs: Vec<f64> = pairs.collect();
    let summary: Summary = pairs.iter().copied().collect();
    Some(Difference {
        mean: summary.mean()?,
        seeds: summary.n(),
        standard_error: summary.standard_error(),
        p_value: PairedTest::of(pairs).map(|test| test.p_value),
        p_holm: None,
    })
}

/// Adds the corrected p-values.
fn correct(differences: &mut [Option<Difference>]) {
    let p_values: Vec<f64> = differences.iter().flatten().filter_map(|one| one.p_value).collect();
    let tested = differences.iter_mut().flatten().filter(|one| one.p_value.is_some());
    for (one, corrected) in tested.zip(holm(&p_values)) {
        one.p_holm = Some(corrected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_seeds_of_both_count() {
        let of = |values: &[(u64, f64)]| values.iter().map(|&(seed, x)| (Some(seed), x)).collect();
        let both =
            difference(&of(&[(1, 1.0), (2, 3.0), (4, 9.0)]), &of(&[(1, 2.0), (2, 6.0), (3, 0.0)]));
        let both = both.unwrap();
        assert_eq!((both.mean, both.seeds, both.standard_error), (2.0, 2, Some(1.0)));
        assert_eq!(difference(&of(&[(1, 1.0)]), &of(&[(2, 1.0)])), None);
    }
}
