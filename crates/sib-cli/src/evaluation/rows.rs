//! The rows of `per_image.csv`: what every row has, then the columns of each suite, then digests.

use csv::StringRecord;
use serde::{Deserialize, Serialize};
use sib_metrics::Exclusion;

use super::suites::Suite;
use crate::records::{Columns, Table, fields};

/// An image, the network's prediction of it, and one of its heatmaps. Each method repeats what is
/// known of the image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageRow {
    /// Number of the batch, from 0.
    pub batch: usize,
    /// Id of the image.
    pub image: String,
    /// Index of its class among those of the checkpoint.
    pub label: usize,
    /// Why nothing could be measured of the image; empty where it could.
    pub image_excluded: Option<String>,
    /// Index of the predicted class.
    pub predicted: Option<i64>,
    /// Softmax probability of the predicted class.
    pub probability: Option<f64>,
    /// Classes that the label ranks below: 0 where it is the prediction.
    pub label_rank: Option<usize>,
    /// The object's share of the image, where there is ground truth.
    pub foreground_frac: Option<f64>,
    /// Where the heatmap comes from; empty where no heatmap was asked for.
    pub method: String,
    /// Why there is no heatmap; empty where there is one.
    pub heatmap_excluded: Option<String>,
}

/// What the files held that a row was measured from (see [`super::contents`]).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Digests {
    /// Digest of the files of the image and its mask.
    pub image_digest: Option<String>,
    /// The same of the heatmap's file; empty where an explainer made it.
    pub heatmap_digest: Option<String>,
}

/// The image could not be decoded.
pub const UNREADABLE_IMAGE: &str = "unreadable_image";
/// The file of the heatmap could not be read or has another size.
pub const UNREADABLE_HEATMAP: &str = "unreadable_heatmap";
/// R vanishes, so that there is nothing to show or to compare (decision N7).
pub const NO_DIRECTION: &str = "no_direction";

impl ImageRow {
    /// Why a metric has no value for this row: what is wrong with the image or the heatmap goes before
    /// the metric's own reason.
    pub fn reason<'r>(&'r self, of_metric: &'r str) -> &'r str {
        self.excluded().unwrap_or(of_metric)
    }

    /// Why there is no heatmap to score.
    pub fn excluded(&self) -> Option<&str> {
        self.image_excluded.as_deref().or(self.heatmap_excluded.as_deref())
    }
}

/// The columns in their order.
fn columns() -> impl Iterator<Item = Columns> {
    let of_suites = Suite::ALL.into_iter().filter_map(|suite| suite.definition().columns());
    [Columns::of::<ImageRow>()].into_iter().chain(of_suites).chain([Columns::of::<Digests>()])
}

/// Their names.
pub fn header() -> StringRecord {
    joined(columns().map(|columns| (columns.names)()))
}

/// The row that a record of this or an earlier version holds, under [`header`].
pub fn reread(header: &StringRecord, record: &StringRecord) -> Option<StringRecord> {
    let parts: Option<Vec<_>> = columns().map(|columns| (columns.reread)(header, record)).collect();
    Some(joined(parts?))
}

/// One record of what stands side by side.
pub fn joined(parts: impl IntoIterator<Item = StringRecord>) -> StringRecord {
    let mut whole = StringRecord::new();
    parts.into_iter().for_each(|part| whole.extend(&part));
    whole
}

/// The record of `row`, its `scores` (the fields of the suites that have any in this evaluation) and
/// `digests`. Columns of other suites are empty.
///
/// # Errors
/// None that a caller can cause.
pub fn record(
    row: &ImageRow,
    scores: &[(Suite, StringRecord)],
    digests: &Digests,
) -> anyhow::Result<StringRecord> {
    let of_suites = Suite::ALL.into_iter().filter_map(|suite| {
        let columns = suite.definition().columns()?;
        let own = scores.iter().find(|(of, _)| *of == suite).map(|(_, fields)| fields.clone());
        Some(own.unwrap_or_else(|| empty((columns.names)().len())))
    });
    let of_suites: Vec<_> = of_suites.collect();
    Ok(joined([fields(row)?].into_iter().chain(of_suites).chain([fields(digests)?])))
}

fn empty(fields: usize) -> StringRecord {
    vec![""; fields].into()
}

/// For each row what is wrong with its image or heatmap, other than that a metric is not defined for it.
///
/// # Errors
/// When the table has not the columns of [`ImageRow`].
pub fn faults(table: Table<'_>, rows: &[ImageRow]) -> Vec<Option<String>> {
    let non_finite = Exclusion::NonFiniteHeatmap.name();
    let reasons: Vec<usize> = (0..table.header.len())
        .filter(|&column| table.header[column].ends_with("_excluded"))
        .collect();
    let of_metrics = |record: &StringRecord| {
        reasons.iter().any(|&column| &record[column] == non_finite).then_some(non_finite)
    };
    let fault = |(row, record): (&ImageRow, &StringRecord)| {
        row.excluded().or_else(|| of_metrics(record)).map(str::to_owned)
    };
    rows.iter().zip(table.records).map(fault).collect()
}
