//! Temperatures at which a network's confidence is its accuracy, for images that had no part in finding them.

use anyhow::{Context, Result};
use sib_core::Mode;
use sib_core::data::{Dataset, Loader, LoaderOptions, OnUnreadable};
use sib_metrics::calibration::fitted_temperature;
use tch::Tensor;

use super::settings::Settings;
use crate::checkpoint::Checkpoint;

/// The temperatures of the two halves of an evaluation's images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperatures([f64; 2]);

impl Temperatures {
    /// Of the `checkpoint` on `dataset`, in the order in which it is visited: what fits the labels of the images at
    /// odd places is that of the even ones, and the other way round (decision L9).
    ///
    /// # Errors
    /// When an image's output is not finite, or no temperature fits a half.
    pub fn cross_fitted(
        checkpoint: &Checkpoint,
        settings: &Settings,
        dataset: &Dataset,
    ) -> Result<Self> {
        let options = LoaderOptions {
            batch_size: settings.batch_size,
            on_unreadable: OnUnreadable::Skip,
            device: checkpoint.device,
            ..LoaderOptions::default()
        };
        let loader = Loader::new(dataset.clone(), checkpoint.transform.clone(), options)?;
        let mut halves = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
        for batch in loader.epoch(0, 0) {
            let batch = batch?;
            let logits = tch::no_grad(|| checkpoint.backbone.forward(&batch.images, Mode::Eval));
            for (row, &index) in batch.indices.iter().enumerate() {
                let (of, labels) = &mut halves[index % 2];
                of.push(logits.get(row as i64));
                labels.push(batch.labels.get(row as i64));
            }
        }
        let fitted = |half: &(Vec<Tensor>, Vec<Tensor>)| {
            let (logits, labels) = half;
            if logits.is_empty() {
                anyhow::bail!("no image to fit it by");
            }
            Ok(fitted_temperature(&Tensor::stack(logits, 0), &Tensor::stack(labels, 0))?)
        };
        let [even, odd] = &halves;
        let [of_even, of_odd] = [fitted(odd), fitted(even)];
        let named = |result: Result<f64>| result.context("--calibrate: half of the images");
        Ok(Self([named(of_even)?, named(of_odd)?]))
    }

    /// That of the image at this place.
    pub fn of(self, index: usize) -> f64 {
        self.0[index % 2]
    }
}
