//! The statistics of `summary.csv` and the tables by their definitions: what they should come to,
//! computed from rows once more.

use std::collections::{BTreeMap, HashMap};

/// A row of a CSV file by column.
pub(crate) type Row = HashMap<String, String>;

/// A metric as it should stand in `summary.csv`.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) suite: &'static str,
    pub(crate) method: String,
    pub(crate) metric: String,
    pub(crate) value: Option<f64>,
    pub(crate) standard_error: Option<f64>,
    pub(crate) n: usize,
    pub(crate) excluded: BTreeMap<String, usize>,
}

/// All metrics in the order of the file. `classes` are those of the dataset, `methods` the sources of
/// heatmaps in their order.
pub(crate) fn expected_summary(
    per_image: &[Row],
    information: &[Row],
    suites: &[String],
    methods: &[String],
    classes: usize,
) -> Vec<Expected> {
    let mut all = Vec::new();
    for suite in suites {
        match suite.as_str() {
            "accuracy" => {
                let rows = of_method(per_image, &methods[0]);
                for k in [1, 5].into_iter().filter(|&k| k == 1 || k < classes) {
                    let hit =
                        |row: &Row| Ok(percent(number(row, "label_rank").ok_or("")? < k as f64));
                    all.push(mean_of("accuracy", "", &format!("top{k}_pct"), &rows, hit));
                }
                all.push(calibration_error(&rows));
            }
            "information" => all.extend(of_information(information)),
            name => {
                for method in methods {
                    let rows = of_method(per_image, method);
                    all.extend(match name {
                        "localization" => of_localization(method, &rows),
                        "faithfulness" => of_faithfulness(method, &rows),
                        "sanity" => of_sanity(method, &rows),
                        other => panic!("suite {other}"),
                    });
                }
            }
        }
    }
    all
}

pub(crate) fn of_method<'r>(rows: &'r [Row], method: &str) -> Vec<&'r Row> {
    rows.iter().filter(|row| row["method"] == method).collect()
}

/// The number in a column; `None` where it is empty.
pub(crate) fn number(row: &Row, column: &str) -> Option<f64> {
    let text = &row[column];
    (!text.is_empty()).then(|| text.parse().unwrap_or_else(|_| panic!("{column}: {text}")))
}

fn percent(hit: bool) -> f64 {
    f64::from(u8::from(hit)) * 100.0
}

/// Why a row has no value: what is wrong with its image goes before what is with its heatmap, and that
/// before what the metric says.
fn reason(row: &Row, of_metric: &str) -> String {
    let reasons = [row["image_excluded"].as_str(), &row["heatmap_excluded"], of_metric];
    reasons.into_iter().find(|reason| !reason.is_empty()).unwrap_or_default().to_owned()
}

/// The mean over the rows that have a value.
fn mean_of<'r>(
    suite: &'static str,
    method: &str,
    metric: &str,
    rows: &[&'r Row],
    value: impl Fn(&'r Row) -> Result<f64, &'r str>,
) -> Expected {
    let mut values = Vec::new();
    let mut excluded = BTreeMap::new();
    for row in rows {
        match value(row) {
            Ok(value) => values.push(value),
            Err(why) => *excluded.entry(reason(row, why)).or_default() += 1,
        }
    }
    Expected {
        suite,
        method: method.to_owned(),
        metric: metric.to_owned(),
        value: mean(&values),
        standard_error: standard_error(&values),
        n: values.len(),
        excluded,
    }
}

/// Over 15 bins of the confidence, right predictions less the sum of their confidences.
fn calibration_error(rows: &[&Row]) -> Expected {
    let mut bins = BTreeMap::<u64, f64>::new();
    let confidence = |row| number(row, "probability").ok_or("");
    let mean = mean_of("accuracy", "", "calibration_error_pct", rows, confidence);
    for row in rows {
        let Some(confidence) = number(row, "probability") else { continue };
        let hit = f64::from(u8::from(row["label_rank"] == "0"));
        *bins.entry((15.0 * confidence).ceil() as u64).or_default() += hit - confidence;
    }
    let apart: f64 = bins.values().map(|excess| excess.abs()).sum();
    let value = ratio(100.0 * apart, mean.n as f64);
    Expected { value, standard_error: None, ..mean }
}

fn of_information(batches: &[Row]) -> Vec<Expected> {
    let regions = ["x_fg_r_fg", "x_fg_r_bg", "x_bg_r_fg", "x_bg_r_bg"];
    let measures = ["hsic", "cka", "renyi_bits", "hsic_unbiased"];
    let of_regions =
        measures.iter().flat_map(|measure| regions.map(|of| format!("{measure}_{of}")));
    let metrics: Vec<String> =
        std::iter::once("hsic_difference".to_owned()).chain(of_regions).collect();
    let values = |column: &str| -> Vec<f64> {
        batches.iter().filter_map(|row| number(row, column)).collect()
    };
    let mut excluded = BTreeMap::new();
    for row in batches.iter().filter(|row| !row["excluded"].is_empty()) {
        *excluded.entry(row["excluded"].clone()).or_default() += 1;
    }
    let expected = |metric: String, n, value, standard_error| Expected {
        suite: "information",
        method: String::new(),
        metric,
        value,
        standard_error,
        n,
        excluded: excluded.clone(),
    };
    let own = metrics.iter().map(|metric| {
        let values = values(metric);
        expected(metric.clone(), values.len(), mean(&values), standard_error(&values))
    });
    let of_null = metrics.iter().flat_map(|metric| {
        let [own, null, deviations] =
            ["", "_null", "_null_deviation"].map(|ending| values(&format!("{metric}{ending}")));
        let above = own.iter().sum::<f64>() - null.iter().sum::<f64>();
        let deviation = deviations.iter().map(|one| one * one).sum::<f64>().sqrt();
        let z = (deviation > 1e-12).then(|| above / deviation);
        [("_null", mean(&null)), ("_z", z)]
            .map(|(ending, value)| expected(format!("{metric}{ending}"), own.len(), value, None))
    });
    own.chain(of_null).collect()
}

/// Pixels by predicted and true class: TP, FP, FN, TN.
type Counts = [f64; 4];

fn counts(row: &Row) -> Option<Counts> {
    let columns =
        ["true_positive_px", "false_positive_px", "false_negative_px", "true_negative_px"];
    let counts: Vec<f64> = columns.iter().filter_map(|column| number(row, column)).collect();
    counts.try_into().ok()
}

fn pixel_accuracy([tp, fp, r#fn, tn]: Counts) -> Option<f64> {
    ratio(tp + tn, tp + fp + r#fn + tn)
}

fn foreground_iou([tp, fp, r#fn, _]: Counts) -> Option<f64> {
    ratio(tp, tp + fp + r#fn)
}

fn background_iou([_, fp, r#fn, tn]: Counts) -> Option<f64> {
    ratio(tn, tn + fp + r#fn)
}

fn mean_iou(counts: Counts) -> Option<f64> {
    let both: Vec<f64> =
        [foreground_iou(counts), background_iou(counts)].into_iter().flatten().collect();
    mean(&both)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

fn of_localization(method: &str, rows: &[&Row]) -> Vec<Expected> {
    let suite = "localization";
    let not_localized = |row: &Row| reason(row, &row["localization_excluded"]);
    let measured: Vec<(Counts, &Row)> =
        rows.iter().filter_map(|row| Some((counts(row)?, *row))).collect();
    let mut excluded = BTreeMap::new();
    for row in rows.iter().filter(|row| counts(row).is_none()) {
        *excluded.entry(not_localized(row)).or_default() += 1;
    }
    let whole = |metric: &str, value, standard_error| Expected {
        suite,
        method: method.to_owned(),
        metric: metric.to_owned(),
        value,
        standard_error,
        n: measured.len(),
        excluded: excluded.clone(),
    };
    // Ratios of the sums over all images, with the jackknife's standard error.
    let pooled = |metric: &str, ratio: fn(Counts) -> Option<f64>| {
        let sum_without = |left_out: Option<usize>| {
            let kept = measured.iter().enumerate().filter(|(i, _)| Some(*i) != left_out);
            kept.fold([0.0; 4], |sum: Counts, (_, (one, _))| {
                std::array::from_fn(|i| sum[i] + one[i])
            })
        };
        let ratios: Vec<f64> =
            (0..measured.len()).filter_map(|i| ratio(sum_without(Some(i)))).collect();
        let n = ratios.len() as f64;
        let error = (n > 1.0).then(|| {
            let middle = ratios.iter().sum::<f64>() / n;
            let squares: f64 = ratios.iter().map(|ratio| (ratio - middle).powi(2)).sum();
            100.0 * ((n - 1.0) / n * squares).sqrt()
        });
        whole(metric, ratio(sum_without(None)).map(|value| 100.0 * value), error)
    };
    let of_image = |metric: &str, value: &dyn Fn(&Row) -> Option<f64>, undefined: &'static str| {
        mean_of(suite, method, metric, rows, |row| {
            let why = if counts(row).is_some() { undefined } else { &row["localization_excluded"] };
            value(row).map(|value| 100.0 * value).ok_or(why)
        })
    };
    let mut all = vec![
        pooled("pixel_accuracy_pct", pixel_accuracy),
        pooled("miou_pct", mean_iou),
        pooled("foreground_iou_pct", foreground_iou),
        pooled("background_iou_pct", background_iou),
        of_image("miou_per_image_pct", &|row| mean_iou(counts(row)?), ""),
        of_image("map_pct", &|row| number(row, "average_precision"), ""),
        of_image(
            "pointing_pct",
            &|row| match row["pointing_hit"].as_str() {
                "" => None,
                hit => Some(f64::from(u8::from(hit == "true"))),
            },
            "flat_heatmap",
        ),
        of_image(
            "energy_inside_pct",
            &|row| number(row, "energy_inside_frac"),
            "no_positive_pixel",
        ),
    ];
    // The share of images found at the best of 255 levels, whose bits stand in hexadecimal.
    let found: Vec<Option<f64>> = [30, 50, 70]
        .into_iter()
        .map(|iou| {
            let column = format!("box_levels_iou{iou}");
            let at = |level: usize| {
                let has = |row: &Row| {
                    let digit = row[&column].as_bytes()[63 - level / 4] as char;
                    digit.to_digit(16).unwrap() >> (level % 4) & 1 == 1
                };
                measured.iter().filter(|(_, row)| has(row)).count() as f64
            };
            let best = (0..255).map(at).fold(0.0, f64::max);
            ratio(100.0 * best, measured.len() as f64)
        })
        .collect();
    for (iou, value) in [30, 50, 70].into_iter().zip(&found) {
        all.push(whole(&format!("max_box_acc_iou{iou}_pct"), *value, None));
    }
    let found: Vec<f64> = found.into_iter().flatten().collect();
    all.push(whole("max_box_acc_mean_pct", mean(&found), None));
    all
}

fn of_faithfulness(method: &str, rows: &[&Row]) -> Vec<Expected> {
    let of = |path: &str| {
        mean_of("faithfulness", method, &format!("{path}_auc_pct"), rows, |row| {
            let auc = number(row, &format!("{path}_auc"));
            auc.map(|auc| 100.0 * auc).ok_or(&row["faithfulness_excluded"])
        })
    };
    let share = |path: &str| {
        mean_of("faithfulness", method, &format!("{path}_share_pct"), rows, |row| {
            let auc = number(row, &format!("{path}_auc"));
            let clean = number(row, "clean_probability");
            let share = auc.zip(clean).map(|(auc, clean)| 100.0 * auc / clean);
            share.ok_or(&row["faithfulness_excluded"])
        })
    };
    vec![of("insertion"), of("deletion"), share("insertion"), share("deletion")]
}

fn of_sanity(method: &str, rows: &[&Row]) -> Vec<Expected> {
    let of = |layers: &str| {
        let metric = format!("rank_correlation_{layers}");
        mean_of("sanity", method, &metric, rows, |row| {
            number(row, &metric).ok_or(&row["sanity_excluded"])
        })
    };
    vec![of("head"), of("last_stage")]
}

/// `None` of no values.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard error of the mean; `None` of fewer than two values.
pub(crate) fn standard_error(values: &[f64]) -> Option<f64> {
    let (n, mean) = (values.len() as f64, mean(values)?);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt())
}

/// Whether two values, where they are there, are equal but for rounding.
#[track_caller]
pub(crate) fn assert_close(found: Option<f64>, expected: Option<f64>, what: &str) {
    let close = match (found, expected) {
        (Some(found), Some(expected)) => {
            (found - expected).abs() <= 1e-9 * expected.abs().max(1e-3)
        }
        (found, expected) => found == expected,
    };
    assert!(close, "{what}: {found:?}, expected {expected:?}");
}
