//! The paper's tables from evaluations: a baseline beside other networks, beside the published figures.

pub mod cell;
mod common;
mod key;
pub mod layout;
pub mod number;
pub mod paper;
pub mod render;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use sib_core::information::exp_z_scores;

use crate::network::Training;
use crate::results::compare::{Origin, expect_one_recipe_a_name};
use crate::results::{Called, Evaluation};
use cell::Cell;
use key::Key;
pub use number::Number;
use number::{DIFFERENCE, DIFFERENTIAL};
use paper::Published;

/// A table with the published figures beside ours.
#[derive(Debug)]
pub struct Table {
    /// Which.
    pub number: Number,
    /// All cells of its rows and columns, also those that nothing was measured for.
    pub cells: BTreeMap<Key, Cell>,
    /// The network that the others are compared with.
    pub baseline: Called,
    /// The paper's figures.
    pub published: Published,
}

/// One value that goes into a cell, and where it is from.
#[derive(Clone)]
struct Sample<'e> {
    value: f64,
    evaluation: &'e Evaluation,
    origin: Origin,
}

/// The values by cell, network and seed.
type Samples<'e> = BTreeMap<(Key, Called, Option<u64>), Sample<'e>>;

/// Joins evaluations into a table. Its rows and columns are all architectures, datasets and methods
/// that any of them has the metrics of.
///
/// # Errors
/// When there is no evaluation with the metrics, two of the same network disagree, or those to
/// compare were made with different settings.
pub fn build<'e>(
    number: Number,
    evaluations: impl IntoIterator<Item = &'e Evaluation>,
) -> Result<Table> {
    let evaluations: Vec<&Evaluation> = evaluations.into_iter().collect();
    let beside = beside(&evaluations);
    let baseline = evaluations.iter().map(|of| &of.called).find(|of| of.is_baseline()).cloned();
    let mut samples = Samples::<'e>::new();
    let mut cells = BTreeMap::<Key, Cell>::new();
    for evaluation in evaluations {
        for row in evaluation.summary.iter().filter(|row| row.suite == number.suite().name()) {
            let Some(metric) = number.metrics().iter().find(|metric| metric.ours == row.metric)
            else {
                continue;
            };
            let own = std::slice::from_ref(&evaluation.called);
            let own = match evaluation.called.is_baseline() {
                true => &beside[evaluation.description.network.arch.as_str()][..],
                false => own,
            };
            for network in own {
                let key = Key {
                    arch: row.arch.clone(),
                    network: network.clone(),
                    dataset: row.dataset.clone(),
                    method: row.method.clone(),
                    metric: metric.name.to_owned(),
                };
                match row.value {
                    Some(value) => add(&mut samples, evaluation, number, key, value)?,
                    None => cells.entry(key).or_default().set_undefined(&row.excluded_for),
                }
            }
        }
    }
    if samples.is_empty() && cells.is_empty() {
        bail!("no finished evaluation has suite {}", number.suite());
    }
    expect_comparable(number, &samples)?;
    if number.suite().needs_heatmaps() {
        compare_over_common_images(number, &mut samples, &mut cells)?;
    }
    for ((key, network, seed), sample) in &samples {
        let cell = cells.entry(key.clone()).or_default();
        cell.set(network, *seed, sample.value);
        if let Some(epochs) = sample.origin.epochs {
            cell.set_epochs(network, epochs);
        }
    }
    if number == Number::Three {
        add_differential(&samples, &mut cells);
    }
    complete(&mut cells, number)?;
    let baseline = baseline.unwrap_or_else(|| Training::Baseline.into());
    Ok(Table { number, cells, baseline, published: paper::published(number)? })
}

/// The networks that a baseline of an architecture stands beside.
fn beside<'e>(evaluations: &[&'e Evaluation]) -> BTreeMap<&'e str, Vec<Called>> {
    let mut beside = BTreeMap::<&str, BTreeSet<Called>>::new();
    for evaluation in evaluations {
        let others = beside.entry(&evaluation.description.network.arch).or_default();
        others.extend((!evaluation.called.is_baseline()).then(|| evaluation.called.clone()));
    }
    let or_alone = |others: BTreeSet<Called>| match others.is_empty() {
        true => vec![Training::SIb.into()],
        false => others.into_iter().collect(),
    };
    beside.into_iter().map(|(arch, others)| (arch, or_alone(others))).collect()
}

fn add<'e>(
    samples: &mut Samples<'e>,
    evaluation: &'e Evaluation,
    number: Number,
    key: Key,
    value: f64,
) -> Result<()> {
    let origin = Origin::of_evaluation(evaluation, number.suite())?;
    let (network, seed) = origin.network();
    let sample = Sample { value, evaluation, origin };
    let place = (key, network, seed);
    if let Some(former) = samples.get(&place).filter(|former| former.value != value) {
        return Err(former.origin.same_network(&sample.origin));
    }
    samples.insert(place, sample);
    Ok(())
}

/// Fails where values that stand side by side were measured in different ways, or are of networks that were trained in
/// different ways and have one name.
fn expect_comparable(number: Number, samples: &Samples<'_>) -> Result<()> {
    expect_one_recipe_a_name(samples.values().map(|sample| &sample.origin))?;
    let mut first = BTreeMap::<Key, &Origin>::new();
    for ((key, ..), sample) in samples {
        // The z-scores of Table 3 compare all networks on a dataset.
        let place = match number {
            Number::Three => {
                Key { arch: String::new(), network: Training::SIb.into(), ..key.clone() }
            }
            _ => key.clone(),
        };
        let other = *first.entry(place).or_insert(&sample.origin);
        other.expect_comparable(&sample.origin)?;
    }
    Ok(())
}

/// Replaces the values of a baseline and another network of one seed by those over the images that both have a
/// map of.
fn compare_over_common_images(
    number: Number,
    samples: &mut Samples<'_>,
    cells: &mut BTreeMap<Key, Cell>,
) -> Result<()> {
    let mut pairs = BTreeMap::<(Key, Option<u64>), BTreeMap<Called, &Evaluation>>::new();
    for ((key, network, seed), sample) in samples.iter() {
        let of_all_metrics = Key { metric: String::new(), ..key.clone() };
        let pair = pairs.entry((of_all_metrics, *seed)).or_default();
        pair.insert(network.clone(), sample.evaluation);
    }
    let mut rows = common::Rows::default();
    for ((key, seed), pair) in pairs {
        let mut pair = pair.into_iter();
        let (Some((baseline, one)), Some((other, another))) = (pair.next(), pair.next()) else {
            continue;
        };
        let Some(common) = rows.common([one, another], number.suite(), &key.method)? else {
            continue;
        };
        for metric in number.metrics() {
            let key = Key { metric: metric.name.to_owned(), ..key.clone() };
            let cell = cells.entry(key.clone()).or_default();
            cell.set_common(common.images, common.of);
            for (network, values) in [&baseline, &other].into_iter().zip(&common.values) {
                let place = (key.clone(), network.clone(), seed);
                match (values.get(metric.ours), samples.get_mut(&place)) {
                    (Some(&value), Some(sample)) => sample.value = value,
                    _ => drop(samples.remove(&place)),
                }
            }
        }
    }
    Ok(())
}

/// Adds exp(z-score) of the HSIC difference over the networks of one dataset and seed.
fn add_differential(samples: &Samples<'_>, cells: &mut BTreeMap<Key, Cell>) {
    // A baseline has a cell beside each other network, and counts once.
    let mut compared = BTreeMap::<(&str, Option<u64>), BTreeMap<(&str, &Called), f64>>::new();
    let differences = || samples.iter().filter(|((key, ..), _)| key.metric == DIFFERENCE);
    for ((key, network, seed), sample) in differences() {
        let members = compared.entry((&key.dataset, *seed)).or_default();
        members.insert((&key.arch, network), sample.value);
    }
    // Scores of different sets of networks have no mean.
    let mut most = BTreeMap::<&str, usize>::new();
    for ((dataset, _), members) in &compared {
        let most = most.entry(dataset).or_default();
        *most = members.len().max(*most);
    }
    let mut scores = BTreeMap::new();
    for (&(dataset, seed), members) in &compared {
        let values: Vec<f64> = members.values().copied().collect();
        scores.insert(
            (dataset, seed),
            match most[dataset] {
                most if most > values.len() => {
                    Err(format!("only {} of {most} networks", values.len()))
                }
                _ => exp_z_scores(&values).map_err(|error| error.to_string()),
            },
        );
    }
    for ((key, network, seed), sample) in differences() {
        let place = (&*key.dataset, *seed);
        let mut members = compared[&place].keys();
        let member = members.position(|member| *member == (&*key.arch, network));
        let cell = cells.entry(Key { metric: DIFFERENTIAL.to_owned(), ..key.clone() }).or_default();
        if let Some(epochs) = sample.origin.epochs {
            cell.set_epochs(network, epochs);
        }
        match &scores[&place] {
            Ok(scores) => cell.set(network, *seed, scores[member.expect("one of them")]),
            Err(error) => cell.set_undefined(error),
        }
    }
}

/// Adds the cells that are missing to full rows and columns.
///
/// # Errors
/// When there would be more than anybody reads.
fn complete(cells: &mut BTreeMap<Key, Cell>, number: Number) -> Result<()> {
    const MOST: usize = 100_000;
    let (mut rows, mut columns) = (BTreeMap::new(), BTreeMap::new());
    for key in cells.keys() {
        let place = number.place(key);
        rows.insert((place.block.clone(), place.row), key.clone());
        columns.insert((place.block, place.column), key.clone());
    }
    if rows.len().saturating_mul(columns.len()) > MOST {
        bail!("{} rows and {} columns are too many for a table", rows.len(), columns.len());
    }
    for row in rows.values() {
        for column in columns.values() {
            for metric in number.metrics() {
                if let Some(key) = number.crossing(row, column) {
                    cells.entry(Key { metric: metric.name.to_owned(), ..key }).or_default();
                }
            }
        }
    }
    Ok(())
}
