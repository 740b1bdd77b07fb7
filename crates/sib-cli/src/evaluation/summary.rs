//! `summary.csv`: one row a metric, from the rows of `per_image.csv` alone.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sib_metrics::Summary;
use sib_metrics::localization::Confusion;

use super::folder::Description;
use super::record::ImageRow;
use super::settings::Suite;

/// One metric. The last columns repeat what it depends on, so that rows of many evaluations can be
/// put into one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// Group of the metric.
    pub suite: String,
    /// Where the heatmaps come from; empty for metrics of the network alone.
    pub method: String,
    /// Name, ending in the unit.
    pub metric: String,
    /// Its value over the dataset; empty where no image has one.
    pub value: Option<f64>,
    /// Standard error over images; empty of fewer than two.
    pub standard_error: Option<f64>,
    /// Images that count.
    pub n: u64,
    /// Images that do not.
    pub excluded: u64,
    /// Why not, as `reason:images`.
    pub excluded_for: String,
    /// Dataset.
    pub dataset: String,
    /// Part of it.
    pub split: String,
    /// Architecture.
    pub arch: String,
    /// `baseline` or `s-ib`.
    pub training: String,
    /// Seed of the training.
    pub train_seed: Option<u64>,
    /// Mean share of the object in the images with ground truth.
    pub mean_foreground_frac: Option<f64>,
    /// What the metric was computed with, as `key=value`.
    pub settings: String,
}

/// Why an image has no value of a metric.
const FLAT_HEATMAP: &str = "flat_heatmap";
const NO_POSITIVE_PIXEL: &str = "no_positive_pixel";

/// The rows of `summary.csv`. `methods` are those of [`super::pass::Pass::methods`].
pub fn summarise(rows: &[ImageRow], methods: &[&str], of: &Description) -> Vec<MetricRow> {
    let mut table = Collector { of, foreground_frac: mean_foreground_frac(rows), rows: vec![] };
    if of.settings.has(Suite::Accuracy) {
        // Every method repeats the prediction: those of the first are all there are.
        let images = || rows.iter().filter(|row| Some(&row.method.as_str()) == methods.first());
        for (name, k) in [("top1_pct", 1), ("top5_pct", 5)] {
            let hit = |row: &ImageRow| Some(percent(row.label_rank? < k));
            table.mean(Suite::Accuracy, "", name, images(), |row| hit(row).ok_or(""));
        }
    }
    if of.settings.has(Suite::Localization) {
        for method in methods {
            table.localization(rows, method);
        }
    }
    table.rows
}

/// `summary.csv` as text.
///
/// # Errors
/// When a row cannot be written as CSV.
pub fn to_csv(rows: &[MetricRow]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

fn percent(hit: bool) -> f64 {
    if hit { 100.0 } else { 0.0 }
}

/// Mean over images, whatever the method: the ground truth is the same.
fn mean_foreground_frac(rows: &[ImageRow]) -> Option<f64> {
    let first = rows.iter().find(|row| row.foreground_frac.is_some())?;
    let same_method = rows.iter().filter(|row| row.method == first.method);
    same_method.filter_map(|row| row.foreground_frac).collect::<Summary>().mean()
}

struct Collector<'a> {
    of: &'a Description,
    foreground_frac: Option<f64>,
    rows: Vec<MetricRow>,
}

impl Collector<'_> {
    /// Mean over the images for which `value` is one; the others are counted by its reason, or by
    /// that of the whole image.
    fn mean<'r>(
        &mut self,
        suite: Suite,
        method: &str,
        metric: &str,
        rows: impl Iterator<Item = &'r ImageRow>,
        value: impl Fn(&'r ImageRow) -> Result<f64, &'r str>,
    ) {
        let mut summary = Summary::new();
        let mut excluded = Excluded::default();
        for row in rows {
            match value(row) {
                Ok(value) => summary.push(value),
                Err(reason) => excluded.count(row, reason),
            }
        }
        let error = summary.standard_error();
        self.push(suite, method, metric, (summary.mean(), error), summary.n(), &excluded);
    }

    fn localization(&mut self, rows: &[ImageRow], method: &str) {
        const SUITE: Suite = Suite::Localization;
        let images = || rows.iter().filter(|row| row.method == method);
        self.pooled(method, "pixel_accuracy_pct", rows, Confusion::pixel_accuracy);
        self.pooled(method, "miou_pct", rows, Confusion::mean_iou);
        self.pooled(method, "foreground_iou_pct", rows, Confusion::foreground_iou);
        self.pooled(method, "background_iou_pct", rows, Confusion::background_iou);
        self.mean(SUITE, method, "miou_per_image_pct", images(), |row| {
            let iou = row.confusion().as_ref().and_then(Confusion::mean_iou);
            iou.map(|iou| 100.0 * iou).ok_or(why_not_localized(row))
        });
        self.mean(SUITE, method, "map_pct", images(), |row| {
            row.average_precision.map(|ap| 100.0 * ap).ok_or(why_not_localized(row))
        });
        self.mean(SUITE, method, "pointing_pct", images(), |row| match row.pointing_hit {
            Some(hit) => Ok(percent(hit)),
            None if row.average_precision.is_some() => Err(FLAT_HEATMAP),
            None => Err(why_not_localized(row)),
        });
        self.mean(SUITE, method, "energy_inside_pct", images(), |row| {
            match row.energy_inside_frac {
                Some(frac) => Ok(100.0 * frac),
                None if row.average_precision.is_some() => Err(NO_POSITIVE_PIXEL),
                None => Err(why_not_localized(row)),
            }
        });
    }

    /// A ratio of the pixel counts of all images together, with the jackknife's standard error: the
    /// spread of the ratio when each image in turn is left out (Efron & Stein 1981,
    /// doi:10.1214/aos/1176345462).
    fn pooled(
        &mut self,
        method: &str,
        metric: &str,
        rows: &[ImageRow],
        ratio: impl Fn(&Confusion) -> Option<f64>,
    ) {
        let images = || rows.iter().filter(|row| row.method == method);
        let counts: Vec<Confusion> = images().filter_map(ImageRow::confusion).collect();
        let mut excluded = Excluded::default();
        images()
            .filter(|row| row.confusion().is_none())
            .for_each(|row| excluded.count(row, why_not_localized(row)));
        let total: Confusion = counts.iter().copied().sum();
        let without = |one: &Confusion| Confusion {
            true_positive: total.true_positive - one.true_positive,
            false_positive: total.false_positive - one.false_positive,
            false_negative: total.false_negative - one.false_negative,
            true_negative: total.true_negative - one.true_negative,
        };
        let left_out: Summary = counts.iter().filter_map(|one| ratio(&without(one))).collect();
        // sqrt((n−1)/n · Σ(θ_i − mean)²), and the variance has already divided by n − 1.
        let n = left_out.n() as f64;
        let error = left_out.variance().map(|variance| 100.0 * (n - 1.0) * (variance / n).sqrt());
        let value = ratio(&total).map(|value| 100.0 * value);
        let n = counts.len() as u64;
        self.push(Suite::Localization, method, metric, (value, error), n, &excluded);
    }

    fn push(
        &mut self,
        suite: Suite,
        method: &str,
        metric: &str,
        (value, standard_error): (Option<f64>, Option<f64>),
        n: u64,
        excluded: &Excluded,
    ) {
        let Description { settings, network, dataset } = self.of;
        let used = match suite {
            Suite::Accuracy => String::new(),
            Suite::Localization => format!(
                "ground_truth={} threshold={} pointing_tolerance_px={}",
                format!("{:?}", settings.ground_truth).to_lowercase(),
                settings.threshold,
                settings.pointing_tolerance_px
            ),
        };
        self.rows.push(MetricRow {
            suite: suite.name().to_owned(),
            method: method.to_owned(),
            metric: metric.to_owned(),
            value,
            standard_error,
            n,
            excluded: excluded.0.values().sum(),
            excluded_for: excluded.to_string(),
            dataset: dataset.name.as_str().to_owned(),
            split: dataset.split.as_str().to_owned(),
            arch: network.arch.clone(),
            training: network.training.name().to_owned(),
            train_seed: network.train_seed,
            mean_foreground_frac: self.foreground_frac,
            settings: used,
        });
    }
}

/// Why a row has no localization.
fn why_not_localized(row: &ImageRow) -> &str {
    row.localization_excluded.as_deref().unwrap_or_default()
}

/// Images without a value by reason.
#[derive(Default)]
struct Excluded(BTreeMap<String, u64>);

impl Excluded {
    fn count(&mut self, row: &ImageRow, reason: &str) {
        let reason = row.image_excluded.as_deref().unwrap_or(reason);
        *self.0.entry(reason.to_owned()).or_default() += 1;
    }
}

impl std::fmt::Display for Excluded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(reason, n)| format!("{reason}:{n}")).collect();
        f.write_str(&parts.join(" "))
    }
}
