//! The rows of `per_image.csv`: what every row has, then the columns of each suite, then digests.

use csv::StringRecord;
use sib_metrics::Exclusion;

use super::image_row::{Digests, ImageRow};
use super::suite::Suite;
use crate::records::{Columns, Table, fields};

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
