//! Comparisons as tidy CSV and as Markdown.

use std::borrow::Cow;
use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;

use super::{Block, Comparison, Difference};
use crate::foreign_text::{for_markdown, for_spreadsheet};
use crate::latex;
use crate::results::in_words::{HOLDS, p_value, signed};
use crate::results::titles::{arch_label, dataset_label};

#[derive(Serialize)]
struct CsvRow<'a> {
    dataset: Cow<'a, str>,
    backbone: Cow<'a, str>,
    suite: &'a str,
    images: usize,
    method: Cow<'a, str>,
    metric: &'a str,
    network: Cow<'a, str>,
    baseline: Option<f64>,
    difference: f64,
    n_seeds: u64,
    standard_error: Option<f64>,
    p_value: Option<f64>,
    p_holm: Option<f64>,
}

impl Comparison {
    /// One row for each outcome of each network beside the baseline.
    ///
    /// # Errors
    /// When a row cannot be written as CSV.
    pub fn to_csv(&self) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for block in &self.blocks {
            for row in &block.rows {
                for (network, difference) in block.networks.iter().zip(&row.differences) {
                    let Some(Difference { mean, seeds, standard_error, p_value, p_holm }) =
                        *difference
                    else {
                        continue;
                    };
                    writer.serialize(CsvRow {
                        dataset: for_spreadsheet(&block.dataset),
                        backbone: for_spreadsheet(&block.arch),
                        suite: block.suite.name(),
                        images: block.images,
                        method: for_spreadsheet(row.outcome.method()),
                        metric: row.outcome.metric,
                        network: for_spreadsheet(network),
                        baseline: row.baseline,
                        difference: mean,
                        n_seeds: seeds,
                        standard_error,
                        p_value,
                        p_holm,
                    })?;
                }
            }
        }
        Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
    }

    /// The same tables, differences that hold by Holm's correction in bold.
    pub fn to_latex(&self) -> String {
        latex::document(self.blocks.iter().map(|block| self.latex_block(block)))
    }

    fn latex_block(&self, block: &Block) -> latex::Table {
        let (dataset, arch) = (dataset_label(&block.dataset).1, arch_label(&block.arch).1);
        let mut caption = format!(
            "{dataset}, {arch}: {}, {} images. Means of {} over training seeds, and differences from it with their \
             standard error over the seeds. Bold: p < 0.05 by the paired t-test after Holm's correction for the \
             networks of a row.",
            block.suite, block.images, self.baseline
        );
        for missing in &block.missing {
            let _ = write!(caption, " {missing}.");
        }
        let rows = block.rows.iter().map(|row| {
            let digits = row.outcome.digits;
            let baseline =
                row.baseline.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
            let baseline = latex::Cell { text: baseline, is_bold: false };
            let differences = row.differences.iter().map(|one| match one {
                Some(one) => latex::Cell {
                    text: one.in_words(digits),
                    is_bold: one.p_holm.is_some_and(|p| p < HOLDS),
                },
                None => latex::Cell { text: "–".to_owned(), is_bold: false },
            });
            (row.outcome.in_words(), [baseline].into_iter().chain(differences).collect())
        });
        latex::Table {
            caption,
            spans: Vec::new(),
            columns: [&self.baseline].into_iter().chain(&block.networks).cloned().collect(),
            rows: rows.collect(),
        }
    }

    /// A table for each block: the baseline's means, and how far each network is from them.
    pub fn to_markdown(&self) -> String {
        let mut text: String = self.blocks.iter().map(|block| self.block(block)).collect();
        let _ = writeln!(
            text,
            "Differences from {} of the same training seed, mean ± standard error over the seeds (p-value of the paired \
             t-test; behind the bar by Holm's correction for the networks of a row). [n]: number of seeds.",
            for_markdown(&self.baseline)
        );
        text
    }

    fn block(&self, block: &Block) -> String {
        let dataset = for_markdown(&dataset_label(&block.dataset).1);
        let arch = for_markdown(&arch_label(&block.arch).1);
        let mut text =
            format!("## {dataset}, {arch}: {}, {} images\n\n", block.suite, block.images);
        let names = [&self.baseline].into_iter().chain(&block.networks);
        let names: Vec<String> = names.map(|name| for_markdown(name)).collect();
        let _ = writeln!(text, "| | {} |", names.join(" | "));
        let _ = writeln!(text, "|---|---|{}", "---|".repeat(block.networks.len()));
        for row in &block.rows {
            let digits = row.outcome.digits;
            let baseline =
                row.baseline.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
            let cells: Vec<String> =
                row.differences.iter().map(|one| cell(one.as_ref(), digits)).collect();
            let title = for_markdown(&row.outcome.in_words());
            let _ = writeln!(text, "| {title} | {baseline} | {} |", cells.join(" | "));
        }
        text.push('\n');
        for missing in &block.missing {
            let _ = writeln!(text, "{}\n", for_markdown(missing));
        }
        text
    }
}

impl Difference {
    /// The mean and its standard error.
    fn in_words(&self, digits: usize) -> String {
        let mean = signed(self.mean, digits);
        match self.standard_error {
            Some(error) => format!("{mean} ± {error:.digits$}"),
            None => mean,
        }
    }
}

fn cell(difference: Option<&Difference>, digits: usize) -> String {
    let Some(one) = difference else { return "–".to_owned() };
    let mut text = one.in_words(digits);
    match (one.p_value, one.p_holm) {
        (Some(p), Some(holm)) if holm > p => {
            let _ = write!(text, " ({} \\| {})", p_value(p), p_value(holm));
        }
        (Some(p), _) => {
            let _ = write!(text, " ({})", p_value(p));
        }
        _ => {}
    }
    let _ = write!(text, " [{}]", one.seeds);
    text
}
