//! How well heatmaps find the object: against masks here, against boxes in [`max_box_acc`].

mod average_precision;
mod border;
mod confusion;
pub mod max_box_acc;

use std::borrow::Cow;

use rayon::prelude::*;
use sib_core::{Error, Result};
use tch::Tensor;

use crate::heatmap::{self, Heatmap};
use crate::outcome::{Exclusion, Outcome};
use crate::rank::descending_order;
use crate::threshold::Threshold;
use average_precision::average_precision;
pub use confusion::Confusion;

/// Where the predicted foreground comes from.
#[derive(Debug, Clone, Copy)]
pub enum Cut<'a> {
    /// A rule applied to each heatmap.
    Threshold(Threshold),
    /// Binary masks of the method's own, `[B,H,W]`, not zero where foreground.
    Masks(&'a Tensor),
}

/// One heatmap against the mask of the object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Localization {
    /// The object's share of the image, in (0, 1].
    pub foreground_frac: f64,
    /// Pixels by predicted and true class.
    pub confusion: Confusion,
    /// Area under the precision-recall steps of the foreground, in (0, 1]; pixels of equal value
    /// enter together, as in scikit-learn's `average_precision_score`. A flat map has the object's
    /// share of the image.
    pub average_precision: f64,
    /// Whether the highest pixel (the first of equal ones) lies on the object, or within the
    /// tolerance of it. `None` of a flat map.
    pub pointing_hit: Option<bool>,
    /// The object's share of the sum of the heatmap's positive part, in [0, 1]. `None` where no
    /// pixel is positive.
    pub energy_inside_frac: Option<f64>,
    /// Whether all pixels are equal. Such a map predicts background everywhere.
    pub flat: bool,
}

/// Scores heatmaps against masks.
///
/// Pixel accuracy and IoU are those of the binary prediction that `cut` makes; average precision
/// (of the ranking), the pointing game (Zhang et al. 2018, doi:10.1007/s11263-017-1059-x) and the
/// energy inside (Wang et al. 2020, doi:10.1109/CVPRW50498.2020.00020) use no threshold.
///
/// `heatmaps`: `[B,H,W]`, any scale, higher is more relevant, read as f32; `ground_truth`: `[B,H,W]`,
/// not zero on the object; `pointing_tolerance_px`: how far from the object the highest pixel still
/// counts as a hit (0 for the strict game; the original used 15). One outcome per image: a heatmap
/// that is not finite and an image with no object pixel have none.
///
/// # Errors
/// The shapes are not `[B,H,W]` or differ.
pub fn localize(
    heatmaps: &Tensor,
    ground_truth: &Tensor,
    cut: Cut<'_>,
    pointing_tolerance_px: f64,
) -> Result<Vec<Outcome<Localization>>> {
    let pixels = heatmap::pixels_per_image("heatmaps", heatmaps)?;
    let expect_same = |what, tensor: &Tensor| {
        if tensor.size() == heatmaps.size() {
            return Ok(());
        }
        Err(Error::shape(what, tensor, format!("{:?}", heatmaps.size())))
    };
    expect_same("ground truth masks", ground_truth)?;
    let prediction = match cut {
        Cut::Threshold(rule) => Prediction::Rule(rule),
        Cut::Masks(masks) => {
            expect_same("predicted masks", masks)?;
            Prediction::Masks(heatmap::to_bool(masks)?)
        }
    };
    let width = *heatmaps.size().last().unwrap_or(&1) as usize;
    let values = heatmap::to_f32(heatmaps)?;
    let truth = heatmap::to_bool(ground_truth)?;

    let one = |(index, (values, truth)): (usize, (&[f32], &[bool]))| {
        let heatmap = Heatmap::new(values)?;
        let predicted = prediction.of(index, &heatmap);
        localize_one(&heatmap, truth, &predicted, width, pointing_tolerance_px)
    };
    Ok(values.par_chunks(pixels).zip(truth.par_chunks(pixels)).enumerate().map(one).collect())
}

/// A [`Cut`] with its masks on the CPU.
enum Prediction {
    Rule(Threshold),
    Masks(Vec<bool>),
}

impl Prediction {
    fn of(&self, index: usize, heatmap: &Heatmap<'_>) -> Cow<'_, [bool]> {
        match self {
            Self::Rule(rule) => rule.apply(heatmap).into(),
            Self::Masks(masks) => {
                masks[index * heatmap.values.len()..][..heatmap.values.len()].into()
            }
        }
    }
}

fn localize_one(
    heatmap: &Heatmap<'_>,
    truth: &[bool],
    predicted: &[bool],
    width: usize,
    pointing_tolerance_px: f64,
) -> Outcome<Localization> {
    let values = heatmap.values;
    let order = descending_order(values);
    let average_precision =
        average_precision(values, &order, truth).ok_or(Exclusion::EmptyGroundTruth)?;
    let highest = order.first().map_or(0, |&index| index as usize);
    let object = truth.iter().filter(|&&inside| inside).count();
    Ok(Localization {
        foreground_frac: object as f64 / truth.len() as f64,
        confusion: Confusion::count(predicted, truth),
        average_precision,
        pointing_hit: (!heatmap.is_flat())
            .then(|| is_within(truth, width, highest, pointing_tolerance_px)),
        energy_inside_frac: energy_inside(values, truth),
        flat: heatmap.is_flat(),
    })
}

/// Whether a pixel of `truth` lies within `distance_px` of pixel `index` (Euclidean, centres).
fn is_within(truth: &[bool], width: usize, index: usize, distance_px: f64) -> bool {
    if truth[index] {
        return true;
    }
    let (row, column) = ((index / width) as f64, (index % width) as f64);
    truth.chunks(width).zip(0u32..).any(|(pixels, y)| {
        let reach = distance_px * distance_px - (f64::from(y) - row).powi(2);
        reach >= 0.0
            && pixels
                .iter()
                .zip(0u32..)
                .any(|(&inside, x)| inside && (f64::from(x) - column).powi(2) <= reach)
    })
}

fn energy_inside(values: &[f32], truth: &[bool]) -> Option<f64> {
    let (mut inside, mut total) = (0.0, 0.0);
    for (&value, &object) in values.iter().zip(truth) {
        let energy = f64::from(value.max(0.0));
        total += energy;
        if object {
            inside += energy;
        }
    }
    (total > 0.0).then(|| inside / total)
}

#[cfg(test)]
mod tests;
