//! Takes what a suite measured and makes rows of `summary.csv`.

use std::collections::BTreeMap;
use std::fmt;

use sib_metrics::localization::Confusion;
use sib_metrics::{Pooled, Summary};

use super::description::Description;
use super::image_row::ImageRow;
use super::suite::Suite;
use super::summary_row::SummaryRow;

/// A value of one image, or why it has none.
type Value<'r> = Result<f64, &'r str>;

/// Value of a metric and its standard error.
type Estimate = (Option<f64>, Option<f64>);

/// Takes the metrics of a suite.
#[derive(Debug)]
pub struct Collector<'a> {
    /// The evaluation.
    pub of: &'a Description,
    /// What of an image is the object, on average.
    pub mean_foreground_frac: Option<f64>,
    /// Whose metrics they are.
    pub suite: Suite,
    /// What the numbers depend on, in words.
    pub settings: String,
    /// The rows so far.
    pub rows: Vec<SummaryRow>,
}

impl Collector<'_> {
    /// Classes of the images.
    pub fn classes(&self) -> usize {
        self.of.dataset.classes
    }

    /// Adds the mean over the images that have a value.
    pub fn mean<'r, R>(
        &mut self,
        method: &str,
        metric: &str,
        rows: &'r [(&ImageRow, R)],
        value: impl Fn(&'r R) -> Value<'r>,
    ) {
        let mut summary = Summary::new();
        let excluded = Excluded::of(rows, |row| value(row).map(|value| summary.push(value)));
        let estimate = (summary.mean(), summary.standard_error());
        self.push(method, metric, estimate, summary.n(), &excluded);
    }

    /// Adds the mean over the batches that have a value.
    pub fn mean_of_batches<R>(
        &mut self,
        metric: &str,
        rows: &[R],
        value: impl Fn(&R) -> Option<f64>,
        reason: impl Fn(&R) -> Option<&str>,
    ) {
        let summary: Summary = rows.iter().filter_map(value).collect();
        let mut excluded = Excluded::default();
        rows.iter().filter_map(reason).for_each(|reason| excluded.count(reason));
        let estimate = (summary.mean(), summary.standard_error());
        self.push("", metric, estimate, summary.n(), &excluded);
    }

    /// Adds a value of all batches together, but for those with a reason not to count.
    pub fn of_all_batches<R>(
        &mut self,
        metric: &str,
        value: Option<f64>,
        rows: &[R],
        reason: impl Fn(&R) -> Option<&str>,
    ) {
        let mut excluded = Excluded::default();
        rows.iter().filter_map(reason).for_each(|reason| excluded.count(reason));
        let n = rows.len() as u64 - excluded.total();
        self.push("", metric, (value, None), n, &excluded);
    }

    /// Adds a ratio of the pixel counts of all images together, in per cent.
    pub fn pooled<'r, R>(
        &mut self,
        method: &str,
        metric: &str,
        rows: &'r [(&ImageRow, R)],
        counts: impl Fn(&'r R) -> Result<Confusion, &'r str>,
        ratio: impl Fn(&Confusion) -> Option<f64>,
    ) {
        let mut all = Vec::with_capacity(rows.len());
        let excluded = Excluded::of(rows, |row| counts(row).map(|one| all.push(one)));
        let Pooled { value, standard_error } = Pooled::of(&all, 100.0, ratio);
        self.push(method, metric, (value, standard_error), all.len() as u64, &excluded);
    }

    /// Adds a metric of `n` images (or batches).
    pub fn push(
        &mut self,
        method: &str,
        metric: &str,
        (value, standard_error): Estimate,
        n: u64,
        excluded: &Excluded,
    ) {
        let Description { network, dataset, .. } = self.of;
        self.rows.push(SummaryRow {
            suite: self.suite.name().to_owned(),
            method: method.to_owned(),
            metric: metric.to_owned(),
            value,
            standard_error,
            n,
            excluded: excluded.total(),
            excluded_for: excluded.to_string(),
            dataset: dataset.name.clone(),
            split: dataset.split.as_str().to_owned(),
            arch: network.arch.clone(),
            training: network.training.name().to_owned(),
            train_seed: network.train_seed,
            mean_foreground_frac: self.mean_foreground_frac,
            settings: self.settings.clone(),
        });
    }
}

/// A hit in per cent.
pub fn percent(hit: bool) -> f64 {
    if hit { 100.0 } else { 0.0 }
}

/// How many have no value, by reason.
#[derive(Debug, Default)]
pub struct Excluded(BTreeMap<String, u64>);

impl Excluded {
    /// Of the rows that `take` refuses, with its reason where nothing is wrong with image and heatmap.
    pub fn of<'r, R>(
        rows: &'r [(&ImageRow, R)],
        mut take: impl FnMut(&'r R) -> Result<(), &'r str>,
    ) -> Self {
        let mut excluded = Self::default();
        for (row, own) in rows {
            if let Err(why) = take(own) {
                excluded.count(row.reason(why));
            }
        }
        excluded
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }

    fn count(&mut self, reason: &str) {
        *self.0.entry(reason.to_owned()).or_default() += 1;
    }
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(reason, n)| format!("{reason}:{n}")).collect();
        f.write_str(&parts.join(" "))
    }
}
