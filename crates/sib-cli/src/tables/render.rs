//! Tables as tidy CSV and as Markdown in the paper's layout.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;

use super::cell::CellSummary;
use super::number::{Label, Place};
use super::{Key, Table};

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
    paper_difference: Option<f64>,
    baseline_minus_paper: Option<f64>,
    s_ib_minus_paper: Option<f64>,
    note: String,
}

impl Table {
    /// The cells in the order of the paper.
    fn places(&self) -> BTreeMap<Place, &Key> {
        self.cells.keys().map(|key| (self.number.place(key), key)).collect()
    }

    /// One row a cell.
    ///
    /// # Errors
    /// When a row cannot be written as CSV.
    pub fn to_csv(&self) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for key in self.places().into_values() {
            let cell = &self.cells[key];
            let summary = cell.summary();
            let published = self.published.get(key);
            let from_paper = |ours: Option<f64>, paper: fn(&(f64, f64)) -> f64| {
                ours.zip(published).map(|(ours, published)| ours - paper(published))
            };
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
                paper_difference: published.map(|published| published.1 - published.0),
                baseline_minus_paper: from_paper(summary.baseline, |published| published.0),
                s_ib_minus_paper: from_paper(summary.s_ib, |published| published.1),
                note: cell.note().unwrap_or_default(),
            })?;
        }
        Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
    }

    /// Cells `Baseline→S-IB`, the paper's in brackets below them.
    pub fn to_markdown(&self) -> String {
        let places = self.places();
        let blocks: BTreeSet<&Label> = places.keys().map(|place| &place.block).collect();
        let mut text = String::new();
        for block in blocks {
            self.block(&places, block, &mut text);
        }
        text.push_str(self.number.caption());
        text.push_str(" Cells are Baseline→S-IB");
        if self.cells.keys().any(|key| self.published.contains_key(key)) {
            text.push_str(", with the paper's in brackets");
        }
        text.push('.');
        if self.cells.values().any(|cell| cell.summary().standard_error.is_some()) {
            text.push_str(
                " Behind ± stands the standard error of the difference over training seeds, behind \
                 p the p-value of the paired t-test.",
            );
        }
        text.push('\n');
        text
    }

    fn block(&self, places: &BTreeMap<Place, &Key>, block: &Label, text: &mut String) {
        let here = || places.iter().filter(|(place, _)| place.block == *block);
        let columns: BTreeSet<&Label> = here().map(|(place, _)| &place.column).collect();
        let mut rows = BTreeMap::<&Label, Vec<&Key>>::new();
        here().for_each(|(place, key)| rows.entry(&place.row).or_default().push(key));

        // Writing to a string cannot fail.
        let of = if block.1.is_empty() { String::new() } else { format!(", {}", block.1) };
        let _ = writeln!(text, "## {}{of}\n", self.number.title());
        let headings: Vec<&str> = columns.iter().map(|column| column.1.as_str()).collect();
        let _ = writeln!(text, "| | {} |", headings.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(headings.len()));
        let mut notes = Vec::new();
        for (row, keys) in rows {
            let cells: Vec<String> =
                keys.into_iter().map(|key| self.cell_text(key, &mut notes)).collect();
            let _ = writeln!(text, "| {} | {} |", row.1, cells.join(" | "));
        }
        text.push('\n');
        for (index, note) in notes.iter().enumerate() {
            let _ = writeln!(text, "({}) {note}\n", index + 1);
        }
    }

    fn cell_text(&self, key: &Key, notes: &mut Vec<String>) -> String {
        let digits = self.number.metric(&key.metric).map_or(2, |metric| metric.digits);
        let cell = &self.cells[key];
        let CellSummary { baseline, s_ib, standard_error, p_value, .. } = cell.summary();
        let value =
            |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.digits$}"));
        let mut text = format!("{}→{}", value(baseline), value(s_ib));
        if let Some(error) = standard_error {
            let _ = write!(text, " ± {error:.digits$}");
        }
        if let Some(p) = p_value {
            let _ = write!(text, " (p = {p:.3})");
        }
        if let Some((baseline, s_ib)) = self.published.get(key) {
            let _ = write!(text, " [{baseline:.digits$}→{s_ib:.digits$}]");
        }
        if let Some(note) = cell.note() {
            let at = notes.iter().position(|known| *known == note).unwrap_or_else(|| {
                notes.push(note);
                notes.len() - 1
            });
            let _ = write!(text, " ({})", at + 1);
        }
        text
    }
}
