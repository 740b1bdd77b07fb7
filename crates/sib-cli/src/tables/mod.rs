//! The paper's tables from evaluations: baseline beside S-IB, beside the published figures.

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
use sib_core::objective::MaskOrigin;

use crate::network::Training;
use crate::results::Evaluation;
use crate::results::compare::Origin;
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

/// The values by cell, training and seed.
type Samples<'e> = BTreeMap<(Key, Training, Option<u64>), Sample<'e>>;

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
    let masks = masks(&evaluations);
    let mut samples = Samples::<'e>::new();
    let mut cells = BTreeMap::<Key, Cell>::new();
    for evaluation in evaluations {
        for row in evaluation.summary.iter().filter(|row| row.suite == number.suite().name()) {
            let Some(metric) = number.metrics().iter().find(|metric| metric.ours == row.metric)
            else {
                continue;
            };
            let network = &evaluation.description.network;
            let own = match network.training {
                Training::Baseline => &masks[network.arch.as_str()][..],
                Training::SIb => &[MaskOrigin::Network],
                Training::SIbAnnotation => &[MaskOrigin::Annotation],
            };
            for &mask in own {
                let key = Key {
                    arch: row.arch.clone(),
                    mask,
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
    for ((key, training, seed), sample) in &samples {
        let cell = cells.entry(key.clone()).or_default();
        cell.set(*training, *seed, sample.value);
        if let Some(epochs) = sample.origin.epochs {
            cell.set_epochs(*training, epochs);
        }
    }
    if number == Number::Three {
        add_differential(&samples, &mut cells);
    }
    complete(&mut cells, number);
    Ok(Table { number, cells, published: paper::published(number)? })
}

/// The masks of the S-IB networks that a baseline of an architecture stands beside.
fn masks<'e>(evaluations: &[&'e Evaluation]) -> BTreeMap<&'e str, Vec<MaskOrigin>> {
    let mut masks = BTreeMap::<&str, BTreeSet<Option<MaskOrigin>>>::new();
    for evaluation in evaluations {
        let network = &evaluation.description.network;
        masks.entry(&network.arch).or_default().insert(match network.training {
            Training::Baseline => None,
            Training::SIb => Some(MaskOrigin::Network),
            Training::SIbAnnotation => Some(MaskOrigin::Annotation),
        });
    }
    let or_alone = |masks: BTreeSet<Option<MaskOrigin>>| match masks.last() {
        Some(None) => vec![MaskOrigin::Network],
        _ => masks.into_iter().flatten().collect(),
    };
    masks.into_iter().map(|(arch, masks)| (arch, or_alone(masks))).collect()
}

fn add<'e>(
    samples: &mut Samples<'e>,
    evaluation: &'e Evaluation,
    number: Number,
    key: Key,
    value: f64,
) -> Result<()> {
    let origin = Origin::of_evaluation(evaluation, number.suite())?;
    let (training, seed) = origin.training_and_seed();
    let sample = Sample { value, evaluation, origin };
    let place = (key, training, seed);
    if let Some(former) = samples.get(&place).filter(|former| former.value != value) {
        return Err(former.origin.same_network(&sample.origin));
    }
    samples.insert(place, sample);
    Ok(())
}

/// Fails where values that stand side by side were measured in different ways.
fn expect_comparable(number: Number, samples: &Samples<'_>) -> Result<()> {
    let mut first = BTreeMap::<Key, &Origin>::new();
    for ((key, ..), sample) in samples {
        // The z-scores of Table 3 compare all networks on a dataset.
        let (arch, mask) = match number {
            Number::Three => (String::new(), MaskOrigin::Network),
            _ => (key.arch.clone(), key.mask),
        };
        let other = *first.entry(Key { arch, mask, ..key.clone() }).or_insert(&sample.origin);
        other.expect_comparable(&sample.origin)?;
    }
    Ok(())
}

/// Replaces the values of a baseline and an S-IB network of one seed by those over the images that both have
/// a map of.
fn compare_over_common_images(
    number: Number,
    samples: &mut Samples<'_>,
    cells: &mut BTreeMap<Key, Cell>,
) -> Result<()> {
    let mut pairs = BTreeMap::<(Key, Option<u64>), BTreeMap<Training, &Evaluation>>::new();
    for ((key, training, seed), sample) in samples.iter() {
        let of_all_metrics = Key { metric: String::new(), ..key.clone() };
        pairs.entry((of_all_metrics, *seed)).or_default().insert(*training, sample.evaluation);
    }
    let mut rows = common::Rows::default();
    for ((key, seed), trainings) in pairs {
        let mut trainings = trainings.into_iter();
        let (Some((Training::Baseline, baseline)), Some((s_ib_training, s_ib))) =
            (trainings.next(), trainings.next())
        else {
            continue;
        };
        let Some(common) = rows.common([baseline, s_ib], number.suite(), &key.method)? else {
            continue;
        };
        for metric in number.metrics() {
            let key = Key { metric: metric.name.to_owned(), ..key.clone() };
            let cell = cells.entry(key.clone()).or_default();
            cell.set_common(common.images, common.of);
            for (training, values) in
                [Training::Baseline, s_ib_training].into_iter().zip(&common.values)
            {
                let place = (key.clone(), training, seed);
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
    // A baseline has a cell beside each kind of S-IB network, and counts once.
    let mut compared = BTreeMap::<(&str, Option<u64>), BTreeMap<(&str, Training), f64>>::new();
    let differences = || samples.iter().filter(|((key, ..), _)| key.metric == DIFFERENCE);
    for ((key, training, seed), sample) in differences() {
        let members = compared.entry((&key.dataset, *seed)).or_default();
        members.insert((&key.arch, *training), sample.value);
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
    for ((key, training, seed), sample) in differences() {
        let place = (&*key.dataset, *seed);
        let mut members = compared[&place].keys();
        let member = members.position(|member| *member == (&*key.arch, *training));
        let cell = cells.entry(Key { metric: DIFFERENTIAL.to_owned(), ..key.clone() }).or_default();
        if let Some(epochs) = sample.origin.epochs {
            cell.set_epochs(*training, epochs);
        }
        match &scores[&place] {
            Ok(scores) => cell.set(*training, *seed, scores[member.expect("one of them")]),
            Err(error) => cell.set_undefined(error),
        }
    }
}

/// Adds the cells that are missing to full rows and columns.
fn complete(cells: &mut BTreeMap<Key, Cell>, number: Number) {
    let keys: Vec<Key> = cells.keys().cloned().collect();
    for row in &keys {
        for column in &keys {
            for metric in number.metrics() {
                if let Some(key) = number.crossing(row, column) {
                    cells.entry(Key { metric: metric.name.to_owned(), ..key }).or_default();
                }
            }
        }
    }
}
