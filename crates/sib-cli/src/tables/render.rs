//! Tables as tidy CSV and as Markdown in the paper's layout.

use std::borrow::Cow;
use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;

use super::Table;
use super::layout::{Block, CellText, Pair, Side};
use super::number::DIFFERENTIAL;
use crate::foreign_text::{for_markdown, for_spreadsheet};
use crate::latex;

#[derive(Serialize)]
struct CsvRow<'a> {
    method: Cow<'a, str>,
    dataset: Cow<'a, str>,
    backbone: Cow<'a, str>,
    network: Cow<'a, str>,
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
    /// One row a cell.
    ///
    /// # Errors
    /// When a row cannot be written as CSV.
    pub fn to_csv(&self) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for key in self.places().into_values() {
            let cell = &self.cells[key];
            let summary = cell.summary();
            let published = self.published(key);
            // The paper's Δ_info is relative to its own eight networks.
            let comparable = published.filter(|_| key.metric != DIFFERENTIAL);
            let from_paper = |ours: Option<f64>, paper: fn((f64, f64)) -> f64| {
                ours.zip(comparable).map(|(ours, published)| ours - paper(published))
            };
            writer.serialize(CsvRow {
                method: for_spreadsheet(&key.method),
                dataset: for_spreadsheet(&key.dataset),
                backbone: for_spreadsheet(&key.arch),
                network: for_spreadsheet(&key.network.name),
                metric: &key.metric,
                baseline: summary.baseline,
                s_ib: summary.other,
                difference: summary.difference,
                n_seeds: summary.n_seeds,
                standard_error: summary.standard_error,
                p_value: summary.p_value,
                paper_baseline: published.map(|published| published.0),
                paper_s_ib: published.map(|published| published.1),
                paper_difference: published.map(|published| published.1 - published.0),
                baseline_minus_paper: from_paper(summary.baseline, |published| published.0),
                s_ib_minus_paper: from_paper(summary.other, |published| published.1),
                note: cell.note(&key.network.title).unwrap_or_default(),
            })?;
        }
        Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
    }

    /// Both networks in columns of their own, the better one in bold where the difference holds.
    pub fn to_latex(&self) -> String {
        let layout = self.layout();
        let block = |block| self.latex_block(block, &layout.titles);
        latex::document(layout.blocks.iter().map(block))
    }

    fn latex_block(&self, block: &Block, titles: &[String; 2]) -> latex::Table {
        let mut caption = format!("{}. {}", block.title, self.number.caption());
        if block.rows.iter().flat_map(|row| &row.cells).any(|cell| cell.better.is_some()) {
            caption.push_str(
                " Bold: the better one by the paired t-test over training seeds, p < 0.05.",
            );
        }
        for (index, note) in block.notes.iter().enumerate() {
            let _ = write!(caption, " ({}) {note}.", index + 1);
        }
        let cells = |cell: &CellText| {
            let of = |text: &String, side| latex::Cell {
                text: text.clone(),
                is_bold: cell.better == Some(side),
            };
            let mut pair =
                [of(&cell.ours.baseline, Side::Baseline), of(&cell.ours.other, Side::Other)];
            if let Some(error) = &cell.standard_error {
                let _ = write!(pair[1].text, " ± {error}");
            }
            if let Some(note) = cell.note {
                let _ = write!(pair[1].text, " ({note})");
            }
            pair
        };
        latex::Table {
            caption,
            spans: block.columns.iter().map(|column| (column.clone(), 2)).collect(),
            columns: block.columns.iter().flat_map(|_| titles.clone()).collect(),
            rows: block
                .rows
                .iter()
                .map(|row| (row.title.clone(), row.cells.iter().flat_map(cells).collect()))
                .collect(),
        }
    }

    /// Cells like `Baseline→S-IB`, the paper's in brackets behind them.
    pub fn to_markdown(&self) -> String {
        let layout = self.layout();
        let mut text: String = layout.blocks.iter().map(block).collect();
        text.push_str(self.number.caption());
        let _ = write!(text, " Cells are {}", for_markdown(&layout.titles.join("→")));
        if layout.has_published {
            text.push_str(", with the paper's in brackets");
        }
        text.push('.');
        if layout.has_errors {
            text.push_str(
                " Behind ± stands the standard error of the difference over training seeds, behind \
                 p the p-value of the paired t-test.",
            );
        }
        text.push('\n');
        text
    }
}

fn block(block: &Block) -> String {
    let mut text = format!("## {}\n\n", for_markdown(&block.title));
    // Writing to a string cannot fail.
    let columns: Vec<String> = block.columns.iter().map(|column| for_markdown(column)).collect();
    let _ = writeln!(text, "| | {} |", columns.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(block.columns.len()));
    for row in &block.rows {
        let cells: Vec<String> = row.cells.iter().map(cell).collect();
        let _ = writeln!(text, "| {} | {} |", for_markdown(&row.title), cells.join(" | "));
    }
    text.push('\n');
    for (index, note) in block.notes.iter().enumerate() {
        let _ = writeln!(text, "({}) {}\n", index + 1, for_markdown(note));
    }
    text
}

fn cell(cell: &CellText) -> String {
    let mut text = format!("{}→{}", cell.ours.baseline, cell.ours.other);
    if let Some(error) = &cell.standard_error {
        let _ = write!(text, " ± {error}");
    }
    if let Some(p) = &cell.p_value {
        let _ = write!(text, " ({p})");
    }
    if let Some(Pair { baseline, other, .. }) = &cell.published {
        let _ = write!(text, " [{baseline}→{other}]");
    }
    if let Some(note) = cell.note {
        let _ = write!(text, " ({note})");
    }
    text
}
