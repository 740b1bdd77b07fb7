//! What every row of `per_image.csv` has.

use serde::{Deserialize, Serialize};

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
