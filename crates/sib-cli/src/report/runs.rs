//! The runs below a folder: what they were set to and what they came to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::format::{dash, fixed, significant};
use crate::progress::duration;
use crate::results::titles::{arch_label, dataset_label};
use crate::results::{Called, Run};
use crate::run::MetricRow;

/// A run, and how the page names it.
#[derive(Debug)]
pub(super) struct NamedRun {
    pub(super) run: Run,
    /// Path from the report's folder.
    pub(super) name: String,
}

/// Settings that the table of runs shows.
pub(super) const SHOWN: [&str; 4] = ["data.name", "model.arch", "train.seed", "train.epochs"];

impl NamedRun {
    /// The value of a setting; a dash where there is none.
    pub(super) fn setting(&self, key: &str) -> String {
        self.run.settings.get(key).cloned().unwrap_or_else(dash)
    }

    /// Dataset, as it is called in tables.
    pub(super) fn dataset(&self) -> String {
        dataset_label(&self.setting("data.name")).1
    }

    /// Architecture, as it is called in tables.
    pub(super) fn arch(&self) -> String {
        arch_label(&self.setting("model.arch")).1
    }

    /// Updates made.
    pub(super) fn steps(&self) -> u64 {
        let logged = self.run.record.metrics.last().map(|row| row.step).unwrap_or_default();
        self.run.record.status.as_ref().map_or(logged, |status| status.steps)
    }

    /// `finished`, `stopped early`, `failed` or `unfinished`.
    fn state(&self) -> &str {
        match &self.run.record.status {
            Some(status) => &status.state,
            None if self.run.record.failed => "failed",
            None => "unfinished",
        }
    }

    /// Epochs trained, and of how many where there are more.
    fn epochs(&self) -> String {
        let planned = self.setting("train.epochs");
        let trained = match &self.run.record.status {
            Some(status) => status.epochs,
            None => epochs_in(&self.run.record.metrics),
        };
        if trained.to_string() == planned { planned } else { format!("{trained} of {planned}") }
    }

    /// The last value of each metric of the test split.
    fn held_out(&self) -> BTreeMap<&str, f64> {
        let test = self.run.record.metrics.iter().filter(|row| row.split == "test");
        test.map(|row| (row.name.as_str(), row.value)).collect()
    }
}

/// Whole epochs in the log: each ends with the test split where that is evaluated.
fn epochs_in(metrics: &[MetricRow]) -> u64 {
    metrics.last().map_or(0, |row| row.epoch.saturating_add(u64::from(row.split == "test")))
}

/// A run as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct RunView {
    pub(super) id: String,
    pub(super) name: String,
    dataset: String,
    arch: String,
    network: Called,
    seed: String,
    state: String,
    finished: bool,
    epochs: String,
    steps: u64,
    time: String,
    top1: String,
    top5: String,
    loss: String,
    /// The other metrics of the test split.
    test: Vec<(String, String)>,
    config: String,
}

impl RunView {
    /// The run number `number` of the page.
    pub(super) fn new(number: usize, run: &NamedRun) -> Self {
        let mut test = run.held_out();
        let mut take = |name: &str| test.remove(name);
        let (top1, top5, loss) = (take("top1"), take("top5"), take("loss"));
        Self {
            id: format!("run-{number}"),
            name: run.name.clone(),
            dataset: run.dataset(),
            arch: run.arch(),
            network: run.run.called.clone(),
            seed: run.setting("train.seed"),
            state: run.state().to_owned(),
            finished: run.run.record.status.is_some(),
            epochs: run.epochs(),
            steps: run.steps(),
            time: run
                .run
                .record
                .status
                .as_ref()
                .map_or_else(dash, |status| duration(status.seconds)),
            top1: fixed(top1),
            top5: fixed(top5),
            loss: significant(loss),
            test: test
                .into_iter()
                .map(|(name, value)| (name.to_owned(), significant(Some(value))))
                .collect(),
            config: run.run.record.config.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_counts_when_the_test_split_was_evaluated_after_it() {
        let row = |epoch, split: &str| MetricRow {
            step: 1,
            epoch,
            split: split.to_owned(),
            name: "loss".to_owned(),
            value: 1.0,
        };
        let rows = [row(0, "train"), row(0, "test"), row(1, "train")];
        assert_eq!([0, 1, 2, 3].map(|n| epochs_in(&rows[..n])), [0, 0, 1, 1]);
    }
}
