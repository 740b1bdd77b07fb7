//! The rows of `summary.csv`.

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// One metric. The last columns repeat what it depends on, so that rows of many evaluations can be
/// put into one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SummaryRow {
    /// Group of the metric.
    pub suite: String,
    /// Where the heatmaps come from; empty for metrics of the network alone.
    pub method: String,
    /// Name; in per cent where it ends in `_pct`.
    pub metric: String,
    /// Its value over the dataset; empty where no image has one.
    pub value: Option<f64>,
    /// Standard error over images (over batches in suite information); empty of fewer than two.
    pub standard_error: Option<f64>,
    /// Images (batches) that count.
    pub n: u64,
    /// Images (batches) that do not.
    pub excluded: u64,
    /// Why not, as `reason:number`.
    pub excluded_for: String,
    /// Dataset.
    pub dataset: String,
    /// Part of it.
    pub split: String,
    /// Architecture.
    pub arch: String,
    /// `baseline`, `s-ib` or `s-ib-annotation`.
    pub training: String,
    /// Seed of the training.
    pub train_seed: Option<u64>,
    /// Mean share of the object in the images that have one.
    pub mean_foreground_frac: Option<f64>,
    /// What the metric was computed with, as `key=value`.
    pub settings: String,
}

/// `summary.csv` as text.
///
/// # Errors
/// When a row cannot be written as CSV.
pub fn to_csv(rows: &[SummaryRow]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}
