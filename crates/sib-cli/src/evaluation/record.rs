//! The rows of `per_image.csv`.

use serde::{Deserialize, Serialize};
use sib_metrics::localization::max_box_acc::BoxHits;
use sib_metrics::localization::{Confusion, Localization};
use sib_metrics::{Exclusion, Outcome};

use super::batch_log::Batched;

/// What was measured of one image, and of one method's heatmap of it. Columns of suites that were
/// not asked for are empty.
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
    /// Why the heatmap has no curves; empty where it has.
    pub faithfulness_excluded: Option<String>,
    /// Area under the insertion curve, in [0, 1].
    pub insertion_auc: Option<f64>,
    /// Area under the deletion curve, in [0, 1].
    pub deletion_auc: Option<f64>,
    /// Why a rank correlation is missing, of the first that is; empty where both are there.
    pub sanity_excluded: Option<String>,
    /// Rank correlation with the heatmap after the head was initialised anew.
    pub rank_correlation_head: Option<f64>,
    /// The same after head and last stage.
    pub rank_correlation_last_stage: Option<f64>,
    /// Digest of what the files of the image and its mask held (see [`super::contents`]).
    #[serde(default)]
    pub image_digest: Option<String>,
    /// The same of the heatmap's file; empty where an explainer made it.
    #[serde(default)]
    pub heatmap_digest: Option<String>,
}

impl Batched for ImageRow {
    fn batch(&self) -> usize {
        self.batch
    }
}

/// The image could not be decoded.
pub const UNREADABLE_IMAGE: &str = "unreadable_image";
/// The file of the heatmap could not be read or has another size.
pub const UNREADABLE_HEATMAP: &str = "unreadable_heatmap";
/// The dataset has no ground truth for the image.
pub const NO_GROUND_TRUTH: &str = "no_ground_truth";
/// R vanishes, so that the S-IB map has nothing to show (decision N7).
pub const NO_DIRECTION: &str = "no_direction";
/// The heatmap is not one of this program's, so that it cannot be made again.
pub const NO_EXPLAINER: &str = "no_explainer";

impl ImageRow {
    /// Records how well the heatmap finds the object.
    pub fn set_localization(&mut self, localized: Outcome<Localization>, boxed: Outcome<BoxHits>) {
        let (found, boxes) = match localized.and_then(|found| Ok((found, boxed?))) {
            Ok(both) => both,
            Err(exclusion) => {
                self.localization_excluded = Some(exclusion.name().to_owned());
                return;
            }
        };
        self.true_positive_px = Some(found.confusion.true_positive);
        self.false_positive_px = Some(found.confusion.false_positive);
        self.false_negative_px = Some(found.confusion.false_negative);
        self.true_negative_px = Some(found.confusion.true_negative);
        self.average_precision = Some(found.average_precision);
        self.pointing_hit = found.pointing_hit;
        self.energy_inside_frac = found.energy_inside_frac;
        let [iou30, iou50, iou70] = boxes.0.map(|levels| Some(levels.to_string()));
        self.box_levels_iou30 = iou30;
        self.box_levels_iou50 = iou50;
        self.box_levels_iou70 = iou70;
    }

    /// Pixels by predicted and true class, where localization was measured.
    pub fn confusion(&self) -> Option<Confusion> {
        Some(Confusion {
            true_positive: self.true_positive_px?,
            false_positive: self.false_positive_px?,
            false_negative: self.false_negative_px?,
            true_negative: self.true_negative_px?,
        })
    }

    /// The grey levels at which boxes are found, where localization was measured.
    pub fn box_hits(&self) -> Option<BoxHits> {
        let levels = |text: &Option<String>| text.as_deref()?.parse().ok();
        Some(BoxHits([
            levels(&self.box_levels_iou30)?,
            levels(&self.box_levels_iou50)?,
            levels(&self.box_levels_iou70)?,
        ]))
    }

    /// What is wrong with the image or the heatmap, other than that a metric is not defined for it.
    pub fn fault(&self) -> Option<&str> {
        let non_finite = Exclusion::NonFiniteHeatmap.name();
        let of_metrics =
            [&self.localization_excluded, &self.faithfulness_excluded, &self.sanity_excluded];
        self.image_excluded.as_deref().or(self.heatmap_excluded.as_deref()).or_else(|| {
            of_metrics
                .into_iter()
                .flatten()
                .map(String::as_str)
                .find(|&reason| reason == non_finite)
        })
    }
}
