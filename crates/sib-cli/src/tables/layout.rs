//! The rows and cells of a table as they are shown, whatever it is written as.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Table;
use super::cell::CellSummary;
use super::key::Key;
use super::number::{Best, Place};
use crate::network::Training;
use crate::results::Called;
use crate::results::in_words::{self, signed};
use crate::results::titles::Label;

/// A table in the paper's layout.
#[derive(Debug, Serialize)]
pub struct Layout {
    /// What the two networks of a cell are called.
    pub titles: [String; 2],
    /// Tables of methods have one an architecture.
    pub blocks: Vec<Block>,
    /// Whether the paper has figures for a cell.
    pub has_published: bool,
    /// Whether a cell has the standard error of its difference.
    pub has_errors: bool,
}

/// Rows under one heading.
#[derive(Debug, Serialize)]
pub struct Block {
    /// Heading.
    pub title: String,
    /// Headings of the columns.
    pub columns: Vec<String>,
    /// One cell a column each.
    pub rows: Vec<Row>,
    /// What cells refer to by its number.
    pub notes: Vec<String>,
}

/// A row of a block.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Heading.
    pub title: String,
    /// In the order of the columns.
    pub cells: Vec<CellText>,
}

/// A cell in words.
#[derive(Debug, Serialize)]
pub struct CellText {
    /// What was measured.
    pub ours: Pair,
    /// Standard error of the difference, over training seeds.
    pub standard_error: Option<String>,
    /// p-value of the paired t-test, as `p = 0.012`.
    pub p_value: Option<String>,
    /// Which of ours is better, where the difference holds: p < 0.05.
    #[serde(skip)]
    pub better: Option<Side>,
    /// The paper's figures.
    pub published: Option<Pair>,
    /// Number of the note that says what is missing, from 1.
    pub note: Option<usize>,
}

/// One of the two networks that a cell compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Baseline,
    Other,
}

/// A metric of both networks; a dash where there is no value.
#[derive(Debug, Serialize)]
pub struct Pair {
    /// Of the baseline.
    pub baseline: String,
    /// Of the other.
    pub other: String,
    /// Other − baseline, with its sign.
    pub difference: String,
}

impl Pair {
    fn new(
        baseline: Option<f64>,
        other: Option<f64>,
        difference: Option<f64>,
        digits: usize,
    ) -> Self {
        let value = |value: Option<f64>| value.map(|v| format!("{v:.digits$}"));
        let dash = || "–".to_owned();
        Self {
            baseline: value(baseline).unwrap_or_else(dash),
            other: value(other).unwrap_or_else(dash),
            difference: difference.map_or_else(dash, |difference| signed(difference, digits)),
        }
    }
}

impl Table {
    /// The paper's figures of a cell, where it compares what the paper does.
    pub(super) fn published(&self, key: &Key) -> Option<(f64, f64)> {
        let network = Called::from(key.network.training);
        let of_paper = || self.published.get(&Key { network, ..key.clone() }).copied();
        (self.baseline.training == Training::Baseline).then(of_paper).flatten()
    }

    /// The cells in the order of the paper.
    pub(super) fn places(&self) -> BTreeMap<Place, &Key> {
        self.cells.keys().map(|key| (self.number.place(key), key)).collect()
    }

    /// What the two networks of a cell are called; of several beside the baseline, rows or columns say which.
    fn titles(&self) -> [String; 2] {
        let mut others: Vec<&str> = self.cells.keys().map(|key| &*key.network.title).collect();
        others.sort_unstable();
        others.dedup();
        let other = match others[..] {
            [one] => one,
            _ => "other network",
        };
        [self.baseline.title.clone(), other.to_owned()]
    }

    /// What is shown of the table.
    pub fn layout(&self) -> Layout {
        let places = self.places();
        let blocks: BTreeSet<&Label> = places.keys().map(|place| &place.block).collect();
        Layout {
            titles: self.titles(),
            blocks: blocks.into_iter().map(|block| self.block(&places, block)).collect(),
            has_published: self.cells.keys().any(|key| self.published(key).is_some()),
            has_errors: self.cells.values().any(|cell| cell.summary().standard_error.is_some()),
        }
    }

    fn block(&self, places: &BTreeMap<Place, &Key>, block: &Label) -> Block {
        let here = || places.iter().filter(|(place, _)| place.block == *block);
        let columns: BTreeSet<&Label> = here().map(|(place, _)| &place.column).collect();
        let mut rows = BTreeMap::<&Label, Vec<&Key>>::new();
        here().for_each(|(place, key)| rows.entry(&place.row).or_default().push(key));
        let of = if block.1.is_empty() { String::new() } else { format!(", {}", block.1) };
        let mut notes = Vec::new();
        let mut cells =
            |keys: Vec<&Key>| keys.into_iter().map(|key| self.cell(key, &mut notes)).collect();
        let rows = rows
            .into_iter()
            .map(|(label, keys)| Row { title: label.1.clone(), cells: cells(keys) })
            .collect();
        Block {
            title: format!("{}{of}", self.number.title()),
            columns: columns.into_iter().map(|column| column.1.clone()).collect(),
            rows,
            notes,
        }
    }

    fn cell(&self, key: &Key, notes: &mut Vec<String>) -> CellText {
        let metric = self.number.metric(&key.metric);
        let digits = metric.map_or(2, |metric| metric.digits);
        let cell = &self.cells[key];
        let CellSummary { baseline, other, difference, standard_error, p_value, .. } =
            cell.summary();
        let note = cell.note(&key.network.title).map(|note| {
            let known = notes.iter().position(|known| *known == note);
            1 + known.unwrap_or_else(|| {
                notes.push(note);
                notes.len() - 1
            })
        });
        let holds = p_value.is_some_and(|p| p < in_words::HOLDS);
        let better = difference.zip(metric).filter(|_| holds).map(|(difference, metric)| {
            if (difference > 0.0) == (metric.best == Best::Highest) {
                Side::Other
            } else {
                Side::Baseline
            }
        });
        CellText {
            better,
            ours: Pair::new(baseline, other, difference, digits),
            standard_error: standard_error.map(|error| format!("{error:.digits$}")),
            p_value: p_value.map(in_words::p_value),
            published: self.published(key).map(|(baseline, other)| {
                Pair::new(Some(baseline), Some(other), Some(other - baseline), digits)
            }),
            note,
        }
    }
}
