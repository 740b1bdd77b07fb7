//! Suite accuracy: top-1 and top-5.

use anyhow::{Context, Result};
use serde::Deserialize;
use sib_core::data::Batch;
use sib_metrics::accuracy::label_ranks;
use sib_metrics::calibration::calibration_error;
use tch::{Kind, Tensor};

use super::definition::{Definition, Finished, Logged};
use crate::evaluation::collector::{Collector, Excluded, percent};
use crate::evaluation::confusion::Confusion;
use crate::evaluation::files::{CLASSES, CONFUSION};

/// Top-1 and top-5. Its columns are those of the prediction, which every row has.
#[derive(Debug)]
pub struct Accuracy;

/// What it reads of a row.
#[derive(Debug, Deserialize)]
struct Row {
    probability: Option<f64>,
    label_rank: Option<usize>,
}

/// Bins of the calibration error: as many as Guo et al. (2017, arXiv:1706.04599) take.
const BINS: usize = 15;

/// The network's predictions for a batch.
#[derive(Debug)]
pub struct Predictions {
    /// The predicted classes `[B]`.
    pub predicted: Tensor,
    /// Their softmax probabilities.
    pub probabilities: Vec<f64>,
    /// For each image the classes that its label ranks below.
    pub label_ranks: Vec<usize>,
}

impl Predictions {
    /// From the logits `[B,K]` of `batch`.
    ///
    /// # Errors
    /// When a logit is not finite; the error names the images.
    pub fn of(logits: &Tensor, batch: &Batch) -> Result<Self> {
        let label_ranks = label_ranks(logits, &batch.labels)
            .with_context(|| format!("batch of {}", batch.ids.join(", ")))?;
        let (probabilities, predicted) = logits.softmax(-1, Kind::Double).max_dim(1, false);
        Ok(Self { predicted, probabilities: probabilities.try_into()?, label_ranks })
    }
}

impl Definition for Accuracy {
    fn summarise(&self, logged: &Logged<'_>, summary: &mut Collector<'_>) -> Result<()> {
        // Every method repeats what is known of the image itself.
        let of_methods = logged.of_methods::<Row>()?;
        let Some((_, images)) = of_methods.first() else { return Ok(()) };
        // Of five classes or fewer the label is always among the first five.
        let classes = summary.classes();
        let of_use = |&(_, k): &(&str, usize)| k < classes || k == 1;
        for (name, k) in [("top1_pct", 1), ("top5_pct", 5)].into_iter().filter(of_use) {
            summary.mean("", name, images, |row| Ok(percent(row.label_rank.ok_or("")? < k)));
        }
        let mut predictions = Vec::with_capacity(images.len());
        let excluded = Excluded::of(images, |row| {
            let prediction = row.probability.zip(row.label_rank).ok_or("")?;
            predictions.push((prediction.0, prediction.1 == 0));
            Ok(())
        });
        let n = predictions.len() as u64;
        let error = calibration_error(predictions, BINS).map(|error| 100.0 * error);
        summary.push("", "calibration_error_pct", (error, None), n, &excluded);
        Ok(())
    }

    fn files(&self, logged: &Logged<'_>, of: Finished<'_>) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let of_methods = logged.of_methods::<Row>()?;
        let Some((_, images)) = of_methods.first() else { return Ok(Vec::new()) };
        let rows = images.iter().map(|(row, _)| *row);
        let confusion = Confusion::of(rows, of.classes);
        let matrix = confusion.to_csv()?.map(|matrix| (CONFUSION, matrix));
        Ok([(CLASSES, confusion.by_class()?)].into_iter().chain(matrix).collect())
    }
}
