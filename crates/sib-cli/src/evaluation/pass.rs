//! One pass over the data: each image is decoded once, predicted once, and explained once by each
//! method, whatever is measured of it.

use anyhow::{Context, Result, bail};
use sib_core::Mode;
use sib_core::data::{Batch, Dataset};
use sib_metrics::accuracy::label_ranks;
use sib_metrics::localization::{Cut, localize};
use tch::{Device, Kind, Tensor};

use super::heatmaps::{HeatmapSource, Heatmaps};
use super::record::{ImageRow, NO_GROUND_TRUTH, UNREADABLE_IMAGE};
use super::settings::{Settings, Suite, Target};
use crate::checkpoint::Checkpoint;

/// Measures batches.
#[derive(Debug)]
pub struct Pass<'e> {
    checkpoint: &'e Checkpoint,
    settings: &'e Settings,
    sources: Vec<HeatmapSource>,
    /// Class of the checkpoint for each class of the dataset.
    classes: Vec<usize>,
}

impl<'e> Pass<'e> {
    /// # Errors
    /// When the dataset has a class that the checkpoint has not, or an explainer cannot be made.
    pub fn new(
        checkpoint: &'e Checkpoint,
        settings: &'e Settings,
        dataset: &Dataset,
    ) -> Result<Self> {
        let sources = settings
            .methods
            .iter()
            .map(|&method| HeatmapSource::new(method, &settings.method_options))
            .collect::<Result<_>>()?;
        let classes = match_classes(checkpoint, dataset)?;
        Ok(Self { checkpoint, settings, sources, classes })
    }

    /// Names of the sources of heatmaps; one empty name where there is none, since each image has
    /// a row.
    pub fn methods(&self) -> Vec<&str> {
        if self.sources.is_empty() {
            return vec![""];
        }
        self.sources.iter().map(HeatmapSource::name).collect()
    }

    /// Rows of images that could not be decoded.
    pub fn unreadable(&self, number: usize, image: &str, label: usize) -> Vec<ImageRow> {
        let row = |method: &str| ImageRow {
            batch: number,
            image: image.to_owned(),
            label: self.classes[label],
            method: method.to_owned(),
            image_excluded: Some(UNREADABLE_IMAGE.to_owned()),
            ..ImageRow::default()
        };
        self.methods().into_iter().map(row).collect()
    }

    /// The rows of batch `number`, image by image, each with one row a method.
    ///
    /// # Errors
    /// When the network's output is not finite, or an explainer cannot work on it.
    pub fn measure(&self, number: usize, batch: Batch) -> Result<Vec<ImageRow>> {
        let batch = batch.to(self.checkpoint.device);
        let net = self.checkpoint.model.backbone();
        let logits = tch::no_grad(|| net.forward(&batch.images, Mode::Eval));
        let labels = self.labels(&batch.labels)?; // [B]
        let ranks = label_ranks(&logits, &labels)
            .with_context(|| format!("batch of {}", batch.ids.join(", ")))?;
        let (probability, predicted) = logits.softmax(-1, Kind::Double).max_dim(1, false);
        let images: Vec<ImageRow> = (0..batch.len())
            .map(|i| ImageRow {
                batch: number,
                image: batch.ids[i].clone(),
                label: labels.int64_value(&[i as i64]) as usize,
                predicted: Some(predicted.int64_value(&[i as i64])),
                probability: Some(probability.double_value(&[i as i64])),
                label_rank: Some(ranks[i]),
                ..ImageRow::default()
            })
            .collect();
        if self.sources.is_empty() {
            return Ok(images);
        }
        let targets = match self.settings.target {
            Target::Predicted => predicted,
            Target::Label => labels,
        };
        let mut by_method = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let heatmaps = source
                .of(net, &batch.images, &targets)
                .with_context(|| format!("{}, batch of {}", source.name(), batch.ids.join(", ")))?;
            let mut rows = images.clone();
            rows.iter_mut().for_each(|row| row.method = source.name().to_owned());
            if self.settings.has(Suite::Localization) {
                self.localize(&batch, &heatmaps, &mut rows)?;
            }
            by_method.push(rows);
        }
        // From method by method to image by image.
        Ok((0..batch.len())
            .flat_map(|i| by_method.iter().map(move |rows| rows[i].clone()))
            .collect())
    }

    /// Indices `[B]` among the checkpoint's classes.
    fn labels(&self, of_dataset: &Tensor) -> Result<Tensor> {
        let labels: Vec<i64> = of_dataset.to_device(Device::Cpu).try_into()?;
        let labels: Vec<i64> =
            labels.into_iter().map(|label| self.classes[label as usize] as i64).collect();
        Ok(Tensor::from_slice(&labels).to_device(self.checkpoint.device))
    }

    fn localize(&self, batch: &Batch, heatmaps: &Heatmaps, rows: &mut [ImageRow]) -> Result<()> {
        let Some(truth) = &batch.ground_truth else {
            bail!("the loader was not asked for ground truth");
        };
        let cut = match &heatmaps.masks {
            Some(masks) => Cut::Masks(masks),
            None => Cut::Threshold(self.settings.threshold),
        };
        let outcomes = localize(&heatmaps.maps, truth, cut, self.settings.pointing_tolerance_px)?;
        for ((row, outcome), &annotated) in rows.iter_mut().zip(outcomes).zip(&batch.annotated) {
            if annotated {
                row.set_localization(outcome);
            } else {
                row.localization_excluded = Some(NO_GROUND_TRUTH.to_owned());
            }
        }
        Ok(())
    }
}

/// For each class of the dataset its index among the checkpoint's, matched by name; a checkpoint
/// may have more. By position where the checkpoint names none.
fn match_classes(checkpoint: &Checkpoint, dataset: &Dataset) -> Result<Vec<usize>> {
    let known = &checkpoint.meta.classes;
    if known.is_empty() {
        let logits = checkpoint.model.num_classes() as usize;
        if dataset.classes.len() != logits {
            bail!(
                "the checkpoint has {logits} unnamed classes, {} has {}",
                dataset.name,
                dataset.classes.len()
            );
        }
        return Ok((0..logits).collect());
    }
    let index = |class: &String| {
        known.iter().position(|name| name == class).with_context(|| {
            format!(
                "class \"{class}\" of {} is none of the checkpoint's {} (\"{}\", ...)",
                dataset.name,
                known.len(),
                known[0]
            )
        })
    };
    dataset.classes.iter().map(index).collect()
}
