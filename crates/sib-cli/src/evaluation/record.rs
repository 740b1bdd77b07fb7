//! The rows of `per_image.csv`.

use serde::{Deserialize, Serialize};
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
    /// Where the heatmap comes from; empty where no heatmap was asked for.
    pub method: String,
    /// Why the heatmap has no localization; empty where it has.
    pub localization_excluded: Option<String>,
    /// The object's share of the image.
    pub foreground_frac: Option<f64>,
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
}

impl Batched for ImageRow {
    fn batch(&self) -> usize {
        self.batch
    }
}

/// The image could not be decoded.
pub const UNREADABLE_IMAGE: &str = "unreadable_image";
/// The dataset has no ground truth for the image.
pub const NO_GROUND_TRUTH: &str = "no_ground_truth";

impl ImageRow {
    /// Records how well the heatmap finds the object.
    pub fn set_localization(&mut self, outcome: Outcome<Localization>) {
        let found = match outcome {
            Ok(found) => found,
            Err(exclusion) => {
                self.localization_excluded = Some(exclusion.name().to_owned());
                return;
            }
        };
        self.foreground_frac = Some(found.foreground_frac);
        self.true_positive_px = Some(found.confusion.true_positive);
        self.false_positive_px = Some(found.confusion.false_positive);
        self.false_negative_px = Some(found.confusion.false_negative);
        self.true_negative_px = Some(found.confusion.true_negative);
        self.average_precision = Some(found.average_precision);
        self.pointing_hit = found.pointing_hit;
        self.energy_inside_frac = found.energy_inside_frac;
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

    /// Whether the row tells of a fault of the input, not only of a metric that is undefined.
    pub fn is_fault(&self) -> bool {
        self.image_excluded.is_some()
            || self.localization_excluded.as_deref() == Some(Exclusion::NonFiniteHeatmap.name())
    }
}
