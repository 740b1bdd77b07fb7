//! The paper's tables from evaluations: baseline beside S-IB, beside the published figures.

pub mod cell;
pub mod evaluations;
pub mod paper;
pub mod render;
pub mod student_t;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use sib_explain::Method;

use crate::error::with_hint;
use cell::Cell;
use evaluations::Evaluation;
use paper::Published;

/// What a cell is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Architecture.
    pub arch: String,
    /// Dataset.
    pub dataset: String,
    /// Method; empty in tables of networks.
    pub method: String,
    /// Metric by the paper's name.
    pub metric: String,
}

/// One column of a table within a dataset.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Name in `summary.csv`.
    pub ours: &'static str,
    /// Name in the paper's table.
    pub paper: &'static str,
    /// Heading.
    pub title: &'static str,
}

/// Which of the paper's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Localization.
    Four,
}

impl Number {
    fn suite(self) -> &'static str {
        match self {
            Self::Four => "localization",
        }
    }

    /// Its columns within a dataset.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Four => &[
                Metric {
                    ours: "pixel_accuracy_pct",
                    paper: "pixel_accuracy",
                    title: "Pixel accuracy",
                },
                Metric { ours: "miou_pct", paper: "miou", title: "mIoU" },
                Metric { ours: "map_pct", paper: "map", title: "mAP" },
            ],
        }
    }

    fn published(self) -> Result<Published> {
        match self {
            Self::Four => paper::localization(),
        }
    }

    /// What it shows.
    pub fn title(self) -> &'static str {
        match self {
            Self::Four => "Localization",
        }
    }
}

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

/// Joins evaluations into a table. Its rows and columns are all architectures, datasets and methods
/// that any of them has the metrics of.
///
/// # Errors
/// When there is no evaluation with the metrics, or two of the same network disagree.
pub fn build(number: Number, evaluations: &[Evaluation]) -> Result<Table> {
    let mut cells = BTreeMap::<Key, Cell>::new();
    let mut source = BTreeMap::new();
    for evaluation in evaluations {
        let network = &evaluation.description.network;
        let rows = evaluation.summary.iter().filter(|row| row.suite == number.suite());
        for row in rows {
            let Some(metric) = number.metrics().iter().find(|metric| metric.ours == row.metric)
            else {
                continue;
            };
            let Some(value) = row.value else { continue };
            let key = Key {
                arch: row.arch.clone(),
                dataset: row.dataset.clone(),
                method: row.method.clone(),
                metric: metric.paper.to_owned(),
            };
            let (training, seed) = (network.training, network.train_seed);
            let former = cells.entry(key.clone()).or_default().set(training, seed, value);
            let other = source.insert((key, training, seed), &evaluation.path);
            if let (Some(former), Some(other)) = (former, other)
                && former != value
            {
                let error = anyhow::anyhow!(
                    "two evaluations of {training} {} on {} with seed {}: {} and {}",
                    row.arch,
                    row.dataset,
                    seed.map_or("unknown".to_owned(), |seed| seed.to_string()),
                    other.display(),
                    evaluation.path.display()
                );
                return Err(with_hint(error, "give --runs a folder that holds one of them"));
            }
        }
    }
    if cells.is_empty() {
        bail!("no finished evaluation of suite {}", number.suite());
    }
    complete(&mut cells, number);
    Ok(Table { number, cells, published: number.published()? })
}

/// Adds the cells that are missing to full rows and columns.
fn complete(cells: &mut BTreeMap<Key, Cell>, number: Number) {
    let keys: Vec<Key> = cells.keys().cloned().collect();
    for row in &keys {
        for column in keys.iter().filter(|column| column.arch == row.arch) {
            for metric in number.metrics() {
                let key = Key {
                    dataset: column.dataset.clone(),
                    metric: metric.paper.to_owned(),
                    ..row.clone()
                };
                cells.entry(key).or_default();
            }
        }
    }
}

/// Where a method stands in the paper's order, others after them.
fn method_place(name: &str) -> usize {
    Method::ALL.into_iter().position(|method| method.name() == name).unwrap_or(usize::MAX)
}
