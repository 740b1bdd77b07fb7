//! What an evaluation comes to, from the logged rows alone, so that a continued one ends with the
//! same bytes.

use std::collections::BTreeMap;
use std::fmt;

use sib_metrics::Summary;
use sib_metrics::localization::Confusion;
use sib_metrics::localization::max_box_acc::{IOU_PCT, MaxBoxAcc};

use super::folder::Description;
use super::information::{InformationRow, MEASURES};
use super::record::ImageRow;
use super::settings::Suite;
use super::summary_row::{SummaryRow, settings_of};

/// The heatmap has no highest pixel.
const FLAT_HEATMAP: &str = "flat_heatmap";
/// The heatmap is zero or less everywhere.
const NO_POSITIVE_PIXEL: &str = "no_positive_pixel";

/// The rows of `summary.csv`. `methods` are those of [`super::pass::Pass::methods`].
pub fn summarise(
    images: &[ImageRow],
    information: &[InformationRow],
    methods: &[String],
    of: &Description,
) -> Vec<SummaryRow> {
    // Every method repeats what is known of the image itself.
    let first = methods.first().map(|method| of_method(images, method)).unwrap_or_default();
    let has_object = |frac: &f64| *frac > 0.0;
    let foreground: Summary =
        first.iter().filter_map(|row| row.foreground_frac.filter(has_object)).collect();
    let mut table = Collector {
        of,
        mean_foreground_frac: foreground.mean(),
        suite: Suite::Accuracy,
        rows: vec![],
    };
    for &suite in &of.settings.suites {
        table.suite = suite;
        match suite {
            Suite::Accuracy => table.accuracy(&first),
            Suite::Information => table.information(information),
            Suite::Localization if no_object(images) => {}
            Suite::Localization | Suite::Faithfulness | Suite::Sanity => {
                for method in methods {
                    let rows = of_method(images, method);
                    match suite {
                        Suite::Localization => table.localization(method, &rows),
                        Suite::Faithfulness => table.faithfulness(method, &rows),
                        _ => table.sanity(method, &rows),
                    }
                }
            }
        }
    }
    table.rows
}

/// Whether images were measured, and none of them has an object left in it: their masks are empty, or
/// the crop cuts all of them off.
pub fn no_object(images: &[ImageRow]) -> bool {
    let mut fracs = images.iter().filter(|row| row.image_excluded.is_none());
    let any = fracs.clone().next().is_some();
    any && fracs.all(|row| row.foreground_frac.is_none_or(|frac| frac == 0.0))
}

fn of_method<'r>(images: &'r [ImageRow], method: &str) -> Vec<&'r ImageRow> {
    images.iter().filter(|row| row.method == method).collect()
}

/// A value of one image, or why it has none.
type Value<'r> = Result<f64, &'r str>;

struct Collector<'a> {
    of: &'a Description,
    mean_foreground_frac: Option<f64>,
    suite: Suite,
    rows: Vec<SummaryRow>,
}

impl Collector<'_> {
    fn accuracy(&mut self, images: &[&ImageRow]) {
        // Of five classes or fewer the label is always among the first five.
        let of_use = |&(_, k): &(&str, usize)| k < self.of.dataset.classes || k == 1;
        for (name, k) in [("top1_pct", 1), ("top5_pct", 5)].into_iter().filter(of_use) {
            self.mean("", name, images, |row| Ok(percent(row.label_rank.ok_or("")? < k)));
        }
    }

    fn information(&mut self, batches: &[InformationRow]) {
        for (name, measure) in MEASURES {
            let mut excluded = Excluded::default();
            let summary: Summary = batches
                .iter()
                .filter_map(|row| {
                    let reason = row.excluded.as_deref();
                    reason.into_iter().for_each(|reason| excluded.count(reason));
                    measure(row)
                })
                .collect();
            self.push("", name, (summary.mean(), summary.standard_error()), summary.n(), &excluded);
        }
    }

    fn localization(&mut self, method: &str, rows: &[&ImageRow]) {
        self.pooled(method, "pixel_accuracy_pct", rows, Confusion::pixel_accuracy);
        self.pooled(method, "miou_pct", rows, Confusion::mean_iou);
        self.pooled(method, "foreground_iou_pct", rows, Confusion::foreground_iou);
        self.pooled(method, "background_iou_pct", rows, Confusion::background_iou);
        self.mean(method, "miou_per_image_pct", rows, |row| {
            let iou = row.confusion().as_ref().and_then(Confusion::mean_iou);
            iou.map(|iou| 100.0 * iou).ok_or(not_localized(row))
        });
        self.mean(method, "map_pct", rows, |row| {
            row.average_precision.map(|ap| 100.0 * ap).ok_or(not_localized(row))
        });
        let undefined = |row, reason| {
            let row: &ImageRow = row;
            if row.average_precision.is_some() { reason } else { not_localized(row) }
        };
        self.mean(method, "pointing_pct", rows, |row| {
            row.pointing_hit.map(percent).ok_or_else(|| undefined(row, FLAT_HEATMAP))
        });
        self.mean(method, "energy_inside_pct", rows, |row| {
            let inside = row.energy_inside_frac.map(|frac| 100.0 * frac);
            inside.ok_or_else(|| undefined(row, NO_POSITIVE_PIXEL))
        });
        self.max_box_acc(method, rows);
    }

    /// MaxBoxAcc for each overlap and their mean.
    fn max_box_acc(&mut self, method: &str, rows: &[&ImageRow]) {
        let mut excluded = Excluded::default();
        let mut found = MaxBoxAcc::default();
        for row in rows {
            match row.box_hits() {
                Some(hits) => found.push(&hits),
                None => excluded.count(reason(row, not_localized(row))),
            }
        }
        let accuracy = found.accuracy();
        for (i, iou) in IOU_PCT.into_iter().enumerate() {
            let value = accuracy.map(|accuracy| 100.0 * accuracy[i]);
            let name = format!("max_box_acc_iou{iou}_pct");
            self.push(method, &name, (value, None), found.n(), &excluded);
        }
        let mean = accuracy.map(|all| 100.0 * all.iter().sum::<f64>() / IOU_PCT.len() as f64);
        self.push(method, "max_box_acc_mean_pct", (mean, None), found.n(), &excluded);
    }

    fn faithfulness(&mut self, method: &str, rows: &[&ImageRow]) {
        let reason = |row| {
            let row: &ImageRow = row;
            row.faithfulness_excluded.as_deref().unwrap_or_default()
        };
        self.mean(method, "insertion_auc_pct", rows, |row| {
            row.insertion_auc.map(|auc| 100.0 * auc).ok_or_else(|| reason(row))
        });
        self.mean(method, "deletion_auc_pct", rows, |row| {
            row.deletion_auc.map(|auc| 100.0 * auc).ok_or_else(|| reason(row))
        });
    }

    fn sanity(&mut self, method: &str, rows: &[&ImageRow]) {
        let reason = |row| {
            let row: &ImageRow = row;
            row.sanity_excluded.as_deref().unwrap_or_default()
        };
        self.mean(method, "rank_correlation_head", rows, |row| {
            row.rank_correlation_head.ok_or_else(|| reason(row))
        });
        self.mean(method, "rank_correlation_last_stage", rows, |row| {
            row.rank_correlation_last_stage.ok_or_else(|| reason(row))
        });
    }

    /// Mean over the images that have a value.
    fn mean<'r>(
        &mut self,
        method: &str,
        metric: &str,
        rows: &[&'r ImageRow],
        value: impl Fn(&'r ImageRow) -> Value<'r>,
    ) {
        let mut summary = Summary::new();
        let mut excluded = Excluded::default();
        for &row in rows {
            match value(row) {
                Ok(value) => summary.push(value),
                Err(why) => excluded.count(reason(row, why)),
            }
        }
        let error = summary.standard_error();
        self.push(method, metric, (summary.mean(), error), summary.n(), &excluded);
    }

    /// A ratio of the pixel counts of all images together, with the jackknife's standard error: the
    /// spread of the ratio when each image in turn is left out (Efron & Stein 1981,
    /// doi:10.1214/aos/1176345462).
    fn pooled(
        &mut self,
        method: &str,
        metric: &str,
        rows: &[&ImageRow],
        ratio: impl Fn(&Confusion) -> Option<f64>,
    ) {
        let mut excluded = Excluded::default();
        let mut counts = Vec::with_capacity(rows.len());
        for row in rows {
            match row.confusion() {
                Some(confusion) => counts.push(confusion),
                None => excluded.count(reason(row, not_localized(row))),
            }
        }
        let total: Confusion = counts.iter().copied().sum();
        let without = |one: &Confusion| Confusion {
            true_positive: total.true_positive - one.true_positive,
            false_positive: total.false_positive - one.false_positive,
            false_negative: total.false_negative - one.false_negative,
            true_negative: total.true_negative - one.true_negative,
        };
        let left_out: Summary = counts.iter().filter_map(|one| ratio(&without(one))).collect();
        // sqrt((n−1)/n · Σ(θ_i − mean)²), of which the variance is Σ/(n−1).
        let n = left_out.n() as f64;
        let error = left_out.variance().map(|variance| 100.0 * (n - 1.0) * (variance / n).sqrt());
        let value = ratio(&total).map(|value| 100.0 * value);
        self.push(method, metric, (value, error), counts.len() as u64, &excluded);
    }

    fn push(
        &mut self,
        method: &str,
        metric: &str,
        (value, standard_error): (Option<f64>, Option<f64>),
        n: u64,
        excluded: &Excluded,
    ) {
        let Description { settings, network, dataset, .. } = self.of;
        self.rows.push(SummaryRow {
            suite: self.suite.name().to_owned(),
            method: method.to_owned(),
            metric: metric.to_owned(),
            value,
            standard_error,
            n,
            excluded: excluded.0.values().sum(),
            excluded_for: excluded.to_string(),
            dataset: dataset.name.clone(),
            split: dataset.split.as_str().to_owned(),
            arch: network.arch.clone(),
            training: network.training.name().to_owned(),
            train_seed: network.train_seed,
            mean_foreground_frac: self.mean_foreground_frac,
            settings: settings_of(settings, self.suite),
        });
    }
}

fn percent(hit: bool) -> f64 {
    if hit { 100.0 } else { 0.0 }
}

/// Why a row has no localization.
fn not_localized(row: &ImageRow) -> &str {
    row.localization_excluded.as_deref().unwrap_or_default()
}

/// Why a row has no value: what is wrong with the image or heatmap goes before what the metric says.
fn reason<'r>(row: &'r ImageRow, of_metric: &'r str) -> &'r str {
    row.image_excluded.as_deref().or(row.heatmap_excluded.as_deref()).unwrap_or(of_metric)
}

/// How many have no value, by reason.
#[derive(Default)]
struct Excluded(BTreeMap<String, u64>);

impl Excluded {
    fn count(&mut self, reason: &str) {
        *self.0.entry(reason.to_owned()).or_default() += 1;
    }
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(reason, n)| format!("{reason}:{n}")).collect();
        f.write_str(&parts.join(" "))
    }
}
