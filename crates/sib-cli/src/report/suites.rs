//! The rows of `summary.csv` as tables: one a suite.

use std::collections::BTreeSet;

use serde::Serialize;

use super::format::{count, fixed, with_error};
use crate::evaluation::suite::Suite;
use crate::evaluation::summary_row::SummaryRow;
use crate::results::titles::method_label;
use crate::tables::Number;

/// The metrics of a suite as the page shows them.
#[derive(Debug, Serialize)]
pub(super) struct SuiteView {
    title: String,
    /// What the rows are: methods, or metrics where the suite knows no methods.
    row_title: &'static str,
    columns: Vec<String>,
    rows: Vec<Row>,
    /// How many images count, and why others do not.
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    title: String,
    cells: Vec<Value>,
}

#[derive(Debug, Serialize)]
struct Value {
    value: String,
    standard_error: Option<String>,
}

/// The suites in the order of the summary.
pub(super) fn views(summary: &[SummaryRow]) -> Vec<SuiteView> {
    let suites = summary.chunk_by(|a, b| a.suite == b.suite);
    suites
        .map(|rows| if rows[0].method.is_empty() { of_network(rows) } else { of_methods(rows) })
        .collect()
}

fn of_network(rows: &[SummaryRow]) -> SuiteView {
    let row = |row: &SummaryRow| Row { title: title(&row.metric), cells: vec![value(row)] };
    SuiteView {
        title: rows[0].suite.clone(),
        row_title: "Metric",
        columns: vec!["Value".to_owned()],
        rows: rows.iter().map(row).collect(),
        notes: notes(rows),
    }
}

fn of_methods(rows: &[SummaryRow]) -> SuiteView {
    let methods = rows.chunk_by(|a, b| a.method == b.method);
    let row = |rows: &[SummaryRow]| Row {
        title: method_label(&rows[0].method).1,
        cells: rows.iter().map(value).collect(),
    };
    let first = rows.iter().take_while(|row| row.method == rows[0].method);
    SuiteView {
        title: rows[0].suite.clone(),
        row_title: "Method",
        columns: first.map(|row| title(&row.metric)).collect(),
        rows: methods.map(row).collect(),
        notes: notes(rows),
    }
}

fn value(row: &SummaryRow) -> Value {
    let (value, standard_error) = if row.metric.ends_with("_pct") {
        (fixed(row.value), row.standard_error.map(|error| fixed(Some(error))))
    } else {
        with_error(row.value, row.standard_error)
    };
    Value { value, standard_error }
}

/// A metric in words, with its unit.
fn title(metric: &str) -> String {
    const TABLES: [Number; 4] = [Number::Two, Number::Three, Number::Four, Number::Five];
    let mut known = TABLES.iter().flat_map(|table| table.metrics());
    let (name, unit) = match metric.strip_suffix("_pct") {
        Some(name) => (name, ", %"),
        None => (metric, ""),
    };
    let words = match known.find(|known| known.ours == metric) {
        Some(known) => known.title.to_owned(),
        None => name.split('_').map(spelt).collect::<Vec<_>>().join(" "),
    };
    words + unit
}

/// A word of a metric's name as it is written elsewhere.
fn spelt(word: &str) -> String {
    match word {
        "hsic" | "cka" | "r" => word.to_uppercase(),
        "renyi" => "Rényi".to_owned(),
        _ => word.replace("iou", "IoU"),
    }
}

/// How many images (batches) count, and why others do not.
fn notes(rows: &[SummaryRow]) -> Vec<String> {
    let (one, many) = match rows[0].suite == Suite::Information.name() {
        true => ("batch", "batches"),
        false => ("image", "images"),
    };
    let counts: BTreeSet<u64> = rows.iter().map(|row| row.n).collect();
    let (least, most) = (counts.first(), counts.last());
    let mut notes = vec![match (least, most) {
        (Some(least), Some(most)) if least != most => format!("{least} to {most} {many}"),
        _ => count(most.copied().unwrap_or_default() as usize, one, many),
    }];
    for row in rows.iter().filter(|row| row.excluded > 0) {
        let of = match row.method.as_str() {
            "" => String::new(),
            method => format!("{}: ", method_label(method).1),
        };
        let note = format!("{of}{} left out ({})", row.excluded, row.excluded_for);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(suite: &str, method: &str, metric: &str, n: u64) -> SummaryRow {
        SummaryRow {
            suite: suite.to_owned(),
            method: method.to_owned(),
            metric: metric.to_owned(),
            value: Some(0.125),
            standard_error: None,
            n,
            excluded: 8 - n,
            excluded_for: "flat_heatmap:1".to_owned(),
            dataset: String::new(),
            split: String::new(),
            arch: String::new(),
            training: String::new(),
            train_seed: None,
            mean_foreground_frac: None,
            settings: String::new(),
        }
    }

    #[test]
    fn metrics_are_spelt_as_elsewhere() {
        let titles = ["top1_pct", "miou_per_image_pct", "renyi_bits_x_fg_r_bg"].map(title);
        assert_eq!(titles, ["top-1, %", "mIoU per image, %", "Rényi bits x fg R bg"]);
    }

    #[test]
    fn methods_are_rows_and_metrics_columns_where_there_are_methods() {
        let views = views(&[
            row("accuracy", "", "top1_pct", 8),
            row("localization", "saliency", "miou_pct", 8),
            row("localization", "saliency", "energy_inside_pct", 8),
            row("localization", "grad-cam", "miou_pct", 7),
            row("localization", "grad-cam", "energy_inside_pct", 7),
        ]);
        assert_eq!((views[0].row_title, views[0].rows[0].title.as_str()), ("Metric", "top-1, %"));
        assert_eq!(views[1].columns, ["mIoU, %", "energy inside, %"]);
        let titles: Vec<&str> = views[1].rows.iter().map(|row| row.title.as_str()).collect();
        assert_eq!(titles, ["Saliency", "GradCAM"]);
        assert_eq!(views[1].rows[1].cells[0].value, "0.12");
        assert_eq!(views[1].notes, ["7 to 8 images", "GradCAM: 1 left out (flat_heatmap:1)"]);
    }
}
