//! Suite localization: heatmaps against masks and boxes of the object.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sib_core::data::ground_truth::Annotation;
use sib_core::data::{BBox, Dataset, GroundTruth, Record};
use sib_metrics::Outcome;
use sib_metrics::localization::max_box_acc::{BoxHits, IOU_PCT, MaxBoxAcc, box_hits};
use sib_metrics::localization::{Confusion, Cut, Localization as Found, localize};
use tch::{Device, Tensor};

use super::comparison::{Comparison, contours_name};
use super::definition::{Definition, Explained, Identity, Logged, Measure, Opening, Scores};
use crate::evaluation::collector::{Collector, Excluded, percent};
use crate::evaluation::heatmaps::Heatmaps;
use crate::evaluation::image_row::{ImageRow, NO_DIRECTION};
use crate::evaluation::settings::Settings;
use crate::records::{Columns, Table};

/// Heatmaps against masks and boxes of the object.
#[derive(Debug)]
pub struct Localization;

/// Its columns. All are empty where they were not asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Why the heatmap has no localization; empty where it has.
    pub localization_excluded: Option<String>,
    /// Object pixels predicted as foreground.
    pub true_positive_px: Option<u64>,
    /// Other pixels predicted as foreground.
    pub false_positive_px: Option<u64>,
    /// Object pixels predicted as background.
    pub false_negative_px: Option<u64>,
    /// Other pixels predicted as background.
    pub true_negative_px: Option<u64>,
    /// Average precision of the ranking of the pixels.
    pub average_precision: Option<f64>,
    /// Whether the highest pixel lies on the object; empty for a flat heatmap.
    pub pointing_hit: Option<bool>,
    /// The object's share of the heatmap's positive part; empty where that is nowhere.
    pub energy_inside_frac: Option<f64>,
    /// Grey levels, as a bit set in hexadecimal, at which a box of the heatmap overlaps one of the
    /// object's by 30 %.
    pub box_levels_iou30: Option<String>,
    /// The same for 50 %.
    pub box_levels_iou50: Option<String>,
    /// The same for 70 %.
    pub box_levels_iou70: Option<String>,
}

/// The dataset has no ground truth for the image.
const NO_GROUND_TRUTH: &str = "no_ground_truth";
/// The heatmap has no highest pixel.
const FLAT_HEATMAP: &str = "flat_heatmap";
/// The heatmap is zero or less everywhere.
const NO_POSITIVE_PIXEL: &str = "no_positive_pixel";

impl Row {
    fn of(localized: Outcome<Found>, boxed: Outcome<BoxHits>) -> Self {
        let (found, boxes) = match localized.and_then(|found| Ok((found, boxed?))) {
            Ok(both) => both,
            Err(exclusion) => return Self::without(exclusion.name()),
        };
        let [iou30, iou50, iou70] = boxes.0.map(|levels| Some(levels.to_string()));
        Self {
            localization_excluded: None,
            true_positive_px: Some(found.confusion.true_positive),
            false_positive_px: Some(found.confusion.false_positive),
            false_negative_px: Some(found.confusion.false_negative),
            true_negative_px: Some(found.confusion.true_negative),
            average_precision: Some(found.average_precision),
            pointing_hit: found.pointing_hit,
            energy_inside_frac: found.energy_inside_frac,
            box_levels_iou30: iou30,
            box_levels_iou50: iou50,
            box_levels_iou70: iou70,
        }
    }

    fn without(why: &str) -> Self {
        Self { localization_excluded: Some(why.to_owned()), ..Self::default() }
    }

    /// Pixels by predicted and true class, where they were compared.
    pub fn confusion(&self) -> Option<Confusion> {
        Some(Confusion {
            true_positive: self.true_positive_px?,
            false_positive: self.false_positive_px?,
            false_negative: self.false_negative_px?,
            true_negative: self.true_negative_px?,
        })
    }

    /// The grey levels at which boxes are found, where they were compared.
    fn box_hits(&self) -> Option<BoxHits> {
        let levels = |text: &Option<String>| text.as_deref()?.parse().ok();
        Some(BoxHits([
            levels(&self.box_levels_iou30)?,
            levels(&self.box_levels_iou50)?,
            levels(&self.box_levels_iou70)?,
        ]))
    }

    /// Why nothing was compared.
    fn reason(&self) -> &str {
        self.localization_excluded.as_deref().unwrap_or_default()
    }

    /// Why a metric that needs more than the comparison has no value, which by itself is `reason`.
    fn undefined<'r>(&'r self, reason: &'r str) -> &'r str {
        if self.average_precision.is_some() { reason } else { self.reason() }
    }
}

/// Whether images were measured, and none of them has an object left in it: their masks are empty, or
/// the crop cuts all of them off.
pub fn no_object(images: &[ImageRow]) -> bool {
    let mut fracs = images.iter().filter(|row| row.image_excluded.is_none());
    let any = fracs.clone().next().is_some();
    any && fracs.all(|row| row.foreground_frac.is_none_or(|frac| frac == 0.0))
}

impl Definition for Localization {
    fn needs_heatmaps(&self) -> bool {
        true
    }

    fn columns(&self) -> Option<Columns> {
        Some(Columns::of::<Row>())
    }

    fn identity(&self, settings: &Settings) -> Identity {
        let Comparison { ground_truth, threshold, pointing_tolerance_px, contours } =
            &settings.localization;
        vec![
            ("ground_truth", GroundTruth::as_str(*ground_truth).to_owned()),
            ("threshold", threshold.to_string()),
            ("pointing_tolerance_px", pointing_tolerance_px.to_string()),
            ("contours", contours_name(*contours).to_owned()),
        ]
    }

    fn lacks(&self, settings: &Settings, dataset: &Dataset) -> Option<String> {
        let kind = settings.localization.ground_truth;
        let has_some = dataset.records.iter().any(|record| kind.of(record).is_some());
        let what = match kind {
            GroundTruth::Auto => "neither masks nor boxes",
            GroundTruth::Box => "no boxes",
            GroundTruth::Mask => "no masks",
        };
        (!has_some).then(|| format!("{} has {what}", dataset.name))
    }

    fn open<'e>(&self, of: Opening<'e>) -> Result<Option<Box<dyn Measure + 'e>>> {
        Ok(Some(Box::new(Comparing(&of.settings.localization))))
    }

    fn measured(&self, images: Table<'_>) -> Result<Vec<bool>> {
        Ok(images.rows::<Row>()?.iter().map(|row| row.confusion().is_some()).collect())
    }

    fn summarise(&self, logged: &Logged<'_>, summary: &mut Collector<'_>) -> Result<()> {
        if no_object(logged.rows) {
            return Ok(());
        }
        for (method, rows) in &logged.of_methods::<Row>()? {
            let rows = &rows[..];
            let counts = |row: &Row| row.confusion();
            for (name, ratio) in POOLED {
                summary.pooled(method, name, rows, |row| counts(row).ok_or(row.reason()), ratio);
            }
            summary.mean(method, "miou_per_image_pct", rows, |row| {
                let iou = counts(row).as_ref().and_then(Confusion::mean_iou);
                iou.map(|iou| 100.0 * iou).ok_or(row.reason())
            });
            summary.mean(method, "map_pct", rows, |row| {
                row.average_precision.map(|ap| 100.0 * ap).ok_or(row.reason())
            });
            summary.mean(method, "pointing_pct", rows, |row| {
                row.pointing_hit.map(percent).ok_or_else(|| row.undefined(FLAT_HEATMAP))
            });
            summary.mean(method, "energy_inside_pct", rows, |row| {
                let inside = row.energy_inside_frac.map(|frac| 100.0 * frac);
                inside.ok_or_else(|| row.undefined(NO_POSITIVE_PIXEL))
            });
            max_box_acc(method, rows, summary);
        }
        Ok(())
    }
}

/// A ratio of pixel counts; none where it is not defined.
type Ratio = fn(&Confusion) -> Option<f64>;

/// The ratios of the pixel counts of all images together.
const POOLED: [(&str, Ratio); 4] = [
    ("pixel_accuracy_pct", Confusion::pixel_accuracy),
    ("miou_pct", Confusion::mean_iou),
    ("foreground_iou_pct", Confusion::foreground_iou),
    ("background_iou_pct", Confusion::background_iou),
];

/// MaxBoxAcc for each overlap and their mean.
fn max_box_acc(method: &str, rows: &[(&ImageRow, Row)], summary: &mut Collector<'_>) {
    let mut found = MaxBoxAcc::default();
    let excluded = Excluded::of(rows, |row| {
        found.push(&row.box_hits().ok_or_else(|| row.reason())?);
        Ok(())
    });
    let accuracy = found.accuracy();
    for (i, iou) in IOU_PCT.into_iter().enumerate() {
        let value = accuracy.map(|accuracy| 100.0 * accuracy[i]);
        let name = format!("max_box_acc_iou{iou}_pct");
        summary.push(method, &name, (value, None), found.n(), &excluded);
    }
    let mean = accuracy.map(|all| 100.0 * all.iter().sum::<f64>() / IOU_PCT.len() as f64);
    summary.push(method, "max_box_acc_mean_pct", (mean, None), found.n(), &excluded);
}

#[derive(Debug)]
struct Comparing<'e>(&'e Comparison);

impl Measure for Comparing<'_> {
    fn measure(&mut self, batch: &Explained<'_>) -> Result<Scores> {
        let boxes = self.boxes(batch)?;
        let by_source =
            batch.heatmaps.iter().map(|heatmaps| self.localize(batch, heatmaps, &boxes));
        Scores::of_rows(&batch.by_image(by_source.collect::<Result<_>>()?))
    }
}

impl Comparing<'_> {
    fn localize(
        &self,
        batch: &Explained<'_>,
        heatmaps: &Heatmaps,
        boxes: &[Vec<BBox>],
    ) -> Result<Vec<Row>> {
        let cut = match &heatmaps.masks {
            Some(masks) => Cut::Masks(masks),
            None => Cut::Threshold(self.0.threshold),
        };
        let truth = ground_truth(batch)?;
        let localized = localize(&heatmaps.maps, truth, cut, self.0.pointing_tolerance_px)?;
        let boxed = box_hits(&heatmaps.maps, boxes, self.0.contours)?;
        let row = |(i, (localized, boxed)): (usize, _)| match () {
            () if heatmaps.missing[i].is_some() => Row::default(),
            () if !batch.batch.annotated[i] => Row::without(NO_GROUND_TRUTH),
            () if heatmaps.undirected[i] => Row::without(NO_DIRECTION),
            () => Row::of(localized, boxed),
        };
        Ok(localized.into_iter().zip(boxed).enumerate().map(row).collect())
    }

    /// Boxes of the objects: those annotated, or the one around the mask where that is the ground
    /// truth.
    fn boxes(&self, batch: &Explained<'_>) -> Result<Vec<Vec<BBox>>> {
        let truth = ground_truth(batch)?.to_device(Device::Cpu);
        let of_image = |(i, record): (usize, &Record)| match self.0.ground_truth.of(record) {
            Some(Annotation::Boxes(_)) => Ok(batch.batch.boxes[i].clone()),
            Some(Annotation::Mask(_)) => {
                Ok(BBox::around(&truth.get(i as i64))?.into_iter().collect())
            }
            // A faulty one is an error of the loader, which leaves the image out.
            Some(Annotation::Faulty(_)) | None => Ok(Vec::new()),
        };
        batch.records.iter().copied().enumerate().map(of_image).collect()
    }
}

fn ground_truth<'b>(batch: &Explained<'b>) -> Result<&'b Tensor> {
    batch.batch.ground_truth.as_ref().context("the loader carries no ground truth")
}

#[cfg(test)]
mod tests {
    use sib_metrics::localization::max_box_acc::Contours;
    use tch::Kind;

    use super::*;

    #[test]
    fn a_heatmap_that_is_the_mask_is_found_however_small() {
        let mask = Tensor::zeros([6, 8], (Kind::Bool, Device::Cpu));
        for (row, column) in [(1, 5), (5, 7)] {
            let _ = mask.narrow(0, row, 1).narrow(1, column, 1).fill_(1);
            let heatmap = mask.to_kind(Kind::Float).unsqueeze(0);
            let around = BBox::around(&mask).unwrap().into_iter().collect();
            let hits = box_hits(&heatmap, &[around], Contours::Largest).unwrap();
            let hits = hits[0].unwrap();
            // The second is in two pieces, the larger of equal areas the last.
            let found = row == 1;
            assert_eq!(hits.0.map(|levels| levels.contains(0)), [found; 3]);
        }
    }
}
