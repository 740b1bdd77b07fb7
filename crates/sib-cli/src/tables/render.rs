//! Tables as tidy CSV and as Markdown in the paper's layout.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;
use sib_explain::Method;

use super::cell::{Cell, CellSummary};
use super::{Key, Table, method_place};

#[derive(Serialize)]
struct CsvRow<'a> {
    method: &'a str,
    dataset: &'a str,
    backbone: &'a str,
    metric: &'a str,
    baseline: Option<f64>,
    s_ib: Option<f64>,
    difference: Option<f64>,
    n_seeds: usize,
    standard_error: Option<f64>,
    p_value: Option<f64>,
    paper_baseline: Option<f64>,
    paper_s_ib: Option<f64>,
    note: &'a str,
}

impl Table {
    /// One row a cell.
    ///
    /// # Errors
    /// When a row cannot be written as CSV.
    pub fn to_csv(&self) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut keys: Vec<&Key> = self.cells.keys().collect();
        keys.sort_by_key(|key| {
            let metric = self.number.metrics().iter().position(|metric| metric.paper == key.metric);
            (&key.arch, method_place(&key.method), &key.method, &key.dataset, metric)
        });
        for key in keys {
            let cell = &self.cells[key];
            let summary = cell.summary();
            let published = self.published.get(key);
            writer.serialize(CsvRow {
                method: &key.method,
                dataset: &key.dataset,
                backbone: &key.arch,
                metric: &key.metric,
                baseline: summary.baseline,
                s_ib: summary.s_ib,
                difference: summary.difference,
                n_seeds: summary.n_seeds,
                standard_error: summary.standard_error,
                p_value: summary.p_value,
                paper_baseline: published.map(|published| published.0),
                paper_s_ib: published.map(|published| published.1),
                note: cell.note().unwrap_or_default(),
            })?;
        }
        Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
    }

    /// Cells `Baseline→S-IB`, the paper's in brackets below; one block an architecture.
    pub fn to_markdown(&self) -> String {
        let archs: BTreeSet<&str> = self.cells.keys().map(|key| key.arch.as_str()).collect();
        let mut text = String::new();
        for arch in archs {
            self.block(arch, &mut text);
        }
        text.push_str(
            "Cells are Baseline→S-IB, in per cent; [ ] are the paper's. ± is the standard error of \
             the difference over seeds, p that of the paired t-test.\n",
        );
        text
    }

    fn block(&self, arch: &str, text: &mut String) {
        let keys = || self.cells.keys().filter(|key| key.arch == arch);
        let datasets: BTreeSet<&str> = keys().map(|key| key.dataset.as_str()).collect();
        let methods: BTreeSet<(usize, &str)> =
            keys().map(|key| (method_place(&key.method), key.method.as_str())).collect();
        let mut notes: Vec<String> = Vec::new();

        // Writing to a string cannot fail.
        let _ = writeln!(text, "## {}, {arch}\n", self.number.title());
        text.push_str("| method |");
        for dataset in &datasets {
            for metric in self.number.metrics() {
                let _ = write!(text, " {dataset} {} |", metric.title);
            }
        }
        let columns = datasets.len() * self.number.metrics().len();
        let _ = writeln!(text, "\n|---|{}", "---|".repeat(columns));
        for (_, method) in methods {
            let title = method.parse::<Method>().map_or(method, |method| method.title());
            let _ = write!(text, "| {title} |");
            for dataset in &datasets {
                for metric in self.number.metrics() {
                    let key = Key {
                        arch: arch.to_owned(),
                        dataset: (*dataset).to_owned(),
                        method: method.to_owned(),
                        metric: metric.paper.to_owned(),
                    };
                    let _ = write!(text, " {} |", self.cell_text(&key, &mut notes));
                }
            }
            text.push('\n');
        }
        text.push('\n');
        for (index, note) in notes.iter().enumerate() {
            let _ = writeln!(text, "({}) {note}  ", index + 1);
        }
        if !notes.is_empty() {
            text.push('\n');
        }
    }

    fn cell_text(&self, key: &Key, notes: &mut Vec<String>) -> String {
        let none = Cell::default();
        let cell = self.cells.get(key).unwrap_or(&none);
        let CellSummary { baseline, s_ib, standard_error, p_value, .. } = cell.summary();
        let value =
            |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
        let mut text = format!("{}→{}", value(baseline), value(s_ib));
        if let Some(error) = standard_error {
            let _ = write!(text, " ± {error:.2}");
        }
        if let Some(p) = p_value {
            let _ = write!(text, " (p = {p:.3})");
        }
        if let Some((baseline, s_ib)) = self.published.get(key) {
            let _ = write!(text, "<br>[{baseline:.2}→{s_ib:.2}]");
        }
        if let Some(note) = cell.note() {
            let at = notes.iter().position(|known| known == note).unwrap_or_else(|| {
                notes.push(note.to_owned());
                notes.len() - 1
            });
            let _ = write!(text, " ({})", at + 1);
        }
        text
    }
}
