//! One pass over the data: each image is decoded once, predicted once, and explained once by each
//! method, whatever is measured of it.

use anyhow::{Context, Result};
use sib_core::data::ground_truth::Annotation;
use sib_core::data::{BBox, Batch, Dataset};
use sib_core::{Backbone, Mode};
use sib_explain::{Method, SIbMap};
use sib_metrics::Exclusion;
use sib_metrics::accuracy::label_ranks;
use sib_metrics::faithfulness::Perturber;
use sib_metrics::localization::max_box_acc::box_hits;
use sib_metrics::localization::{Cut, localize};
use sib_metrics::rank::spearman;
use tch::{Device, Kind, Tensor};

use super::curves::CurveSums;
use super::heatmaps::{HeatmapSource, Heatmaps};
use super::information::InformationRow;
use super::randomised::Randomised;
use super::record::{
    ImageRow, NO_DIRECTION, NO_EXPLAINER, NO_GROUND_TRUTH, UNREADABLE_HEATMAP, UNREADABLE_IMAGE,
};
use super::settings::{Settings, Suite, Target};
use crate::checkpoint::Checkpoint;

/// Measures batches of one dataset.
#[derive(Debug)]
pub struct Pass<'e> {
    checkpoint: &'e Checkpoint,
    settings: &'e Settings,
    sources: Vec<HeatmapSource>,
    s_ib_map: SIbMap,
    perturber: Perturber<'e>,
    randomised: Option<Randomised>,
    /// Images of a whole batch.
    full: usize,
}

/// What was measured of one batch.
#[derive(Debug, Default)]
pub struct Measured {
    /// Image by image, each with one row a method.
    pub images: Vec<ImageRow>,
    /// Method by method.
    pub curves: Vec<CurveSums>,
    /// One row.
    pub information: Vec<InformationRow>,
    /// What is wrong with images and heatmaps, in words.
    pub faults: Vec<String>,
}

impl<'e> Pass<'e> {
    /// Makes the explainers and networks that `settings` ask for. The labels of `dataset` are
    /// indices of the checkpoint's classes.
    ///
    /// # Errors
    /// When an explainer cannot be made or a heatmap is missing.
    pub fn new(
        checkpoint: &'e Checkpoint,
        settings: &'e Settings,
        dataset: &Dataset,
    ) -> Result<Self> {
        let options = &settings.method_options;
        let ids: Vec<&str> = dataset.records.iter().map(|record| record.id.as_str()).collect();
        let methods = settings.methods.iter().map(|&method| HeatmapSource::method(method, options));
        let folders = settings
            .heatmaps
            .iter()
            .map(|(name, folder)| HeatmapSource::folder(name, folder, &ids));
        let randomised = settings
            .has(Suite::Sanity)
            .then(|| Randomised::of(&checkpoint.model, settings.seed))
            .transpose()?;
        Ok(Self {
            checkpoint,
            settings,
            sources: methods.chain(folders).collect::<Result<_>>()?,
            s_ib_map: SIbMap::new(&options.s_ib_map, options.batch_size_of(Method::SIbMap))?,
            perturber: Perturber::new(checkpoint.backbone.as_ref(), settings.faithfulness.clone())?,
            randomised,
            full: settings.batch_size.min(dataset.records.len()),
        })
    }

    /// Names of the sources of heatmaps; one empty name where there is none, since each image has
    /// a row.
    pub fn methods(&self) -> Vec<String> {
        if self.sources.is_empty() {
            return vec![String::new()];
        }
        self.sources.iter().map(|source| source.name().to_owned()).collect()
    }

    /// The rows of an image that could not be decoded.
    pub fn unreadable(&self, number: usize, image: &str, label: usize) -> Vec<ImageRow> {
        let row = |method: String| ImageRow {
            batch: number,
            image: image.to_owned(),
            label,
            method,
            image_excluded: Some(UNREADABLE_IMAGE.to_owned()),
            ..ImageRow::default()
        };
        self.methods().into_iter().map(row).collect()
    }

    /// What is recorded of batch `number` where none of its images could be decoded.
    ///
    /// # Errors
    /// None but those of [`Self::measure`].
    pub fn measure_nothing(&self, number: usize) -> Result<Measured> {
        let mut measured = Measured::default();
        if self.settings.has(Suite::Faithfulness) {
            for source in &self.sources {
                measured.curves.extend(CurveSums::of_batch(number, source.name(), &[])?);
            }
        }
        if self.settings.has(Suite::Information) {
            measured.information = vec![InformationRow::smaller(number, 0)];
        }
        Ok(measured)
    }

    /// Measures batch `number` of `dataset`.
    ///
    /// # Errors
    /// When the network's output is not finite, or an explainer cannot work on it.
    pub fn measure(&mut self, number: usize, batch: Batch, dataset: &Dataset) -> Result<Measured> {
        let batch = batch.to(self.checkpoint.device);
        let net = self.checkpoint.backbone.as_ref();
        let logits = tch::no_grad(|| net.forward(&batch.images, Mode::Eval));
        let ranks = label_ranks(&logits, &batch.labels)
            .with_context(|| format!("batch of {}", batch.ids.join(", ")))?;
        let (probability, predicted) = logits.softmax(-1, Kind::Double).max_dim(1, false);
        let foreground = foreground_fracs(&batch);
        let images: Vec<ImageRow> = (0..batch.len())
            .map(|i| ImageRow {
                batch: number,
                image: batch.ids[i].clone(),
                label: dataset.records[batch.indices[i]].label,
                predicted: Some(predicted.int64_value(&[i as i64])),
                probability: Some(probability.double_value(&[i as i64])),
                label_rank: Some(ranks[i]),
                foreground_frac: foreground[i],
                ..ImageRow::default()
            })
            .collect();
        let mut measured = Measured::default();

        let measures_information = self.settings.has(Suite::Information);
        let maps_s_ib = self.sources.iter().any(|s| matches!(s, HeatmapSource::SIbMap));
        let s_ib = (measures_information || maps_s_ib)
            .then(|| self.s_ib_map.maps(net, &batch.images))
            .transpose()?;
        if let Some(maps) = s_ib.as_ref().filter(|_| measures_information) {
            measured.information.push(if batch.len() == self.full {
                InformationRow::measure(number, &batch.images, maps)?
            } else {
                InformationRow::smaller(number, batch.len())
            });
        }
        if self.sources.is_empty() {
            measured.images = images;
            return Ok(measured);
        }

        let targets = match self.settings.target {
            Target::Predicted => &predicted,
            Target::Label => &batch.labels,
        };
        let mut by_method = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let heatmaps = source.of(net, &batch.images, targets, &batch.ids, s_ib.as_ref())?;
            let mut rows = images.clone();
            for (row, missing) in rows.iter_mut().zip(&heatmaps.missing) {
                source.name().clone_into(&mut row.method);
                if let Some(problem) = missing {
                    row.heatmap_excluded = Some(UNREADABLE_HEATMAP.to_owned());
                    measured.faults.push(problem.clone());
                }
            }
            if self.settings.has(Suite::Localization) {
                self.localize(&batch, dataset, &heatmaps, &mut rows)?;
            }
            if self.settings.has(Suite::Sanity) {
                self.compare_randomised(source, &batch, targets, &heatmaps, &mut rows)?;
            }
            by_method.push((heatmaps, rows));
        }
        if self.settings.has(Suite::Faithfulness) {
            self.perturb(number, &batch, &mut by_method, &mut measured.curves)?;
        }
        // From method by method to image by image.
        for i in 0..batch.len() {
            measured
                .images
                .extend(by_method.iter_mut().map(|(_, rows)| std::mem::take(&mut rows[i])));
        }
        for row in measured.images.iter().filter(|row| row.heatmap_excluded.is_none()) {
            if let Some(fault) = row.fault() {
                measured.faults.push(format!("{}: {}: {fault}", row.image, row.method));
            }
        }
        Ok(measured)
    }

    fn localize(
        &self,
        batch: &Batch,
        dataset: &Dataset,
        heatmaps: &Heatmaps,
        rows: &mut [ImageRow],
    ) -> Result<()> {
        let truth = batch.ground_truth.as_ref().context("the loader carries no ground truth")?;
        let cut = match &heatmaps.masks {
            Some(masks) => Cut::Masks(masks),
            None => Cut::Threshold(self.settings.threshold),
        };
        let tolerance_px = self.settings.pointing_tolerance_px;
        let localized = localize(&heatmaps.maps, truth, cut, tolerance_px)?;
        let boxed =
            box_hits(&heatmaps.maps, &self.boxes(batch, truth, dataset)?, self.settings.contours)?;
        for (i, (localized, boxed)) in localized.into_iter().zip(boxed).enumerate() {
            if rows[i].heatmap_excluded.is_some() {
                continue;
            }
            if !batch.annotated[i] {
                rows[i].localization_excluded = Some(NO_GROUND_TRUTH.to_owned());
            } else if heatmaps.undirected[i] {
                rows[i].localization_excluded = Some(NO_DIRECTION.to_owned());
            } else {
                rows[i].set_localization(localized, boxed);
            }
        }
        Ok(())
    }

    /// Boxes of the objects: those annotated, or the one around the mask where that is the ground
    /// truth.
    fn boxes(&self, batch: &Batch, truth: &Tensor, dataset: &Dataset) -> Result<Vec<Vec<BBox>>> {
        let truth = truth.to_device(Device::Cpu);
        let of_image = |i: usize| {
            let record = &dataset.records[batch.indices[i]];
            match self.settings.ground_truth.of(record) {
                Some(Annotation::Boxes(_)) => Ok(batch.boxes[i].clone()),
                Some(Annotation::Mask(_)) => around(&truth.get(i as i64)),
                // A faulty one is an error of the loader, which leaves the image out.
                Some(Annotation::Faulty(_)) | None => Ok(Vec::new()),
            }
        };
        (0..batch.len()).map(of_image).collect()
    }

    fn compare_randomised(
        &self,
        source: &HeatmapSource,
        batch: &Batch,
        targets: &Tensor,
        heatmaps: &Heatmaps,
        rows: &mut [ImageRow],
    ) -> Result<()> {
        let randomised = self.randomised.as_ref().context("no network was randomised")?;
        if matches!(source, HeatmapSource::Folder(..)) {
            rows.iter_mut().for_each(|row| row.sanity_excluded = Some(NO_EXPLAINER.to_owned()));
            return Ok(());
        }
        let correlations = |net: &dyn Backbone| -> Result<_> {
            let s_ib = matches!(source, HeatmapSource::SIbMap)
                .then(|| self.s_ib_map.maps(net, &batch.images))
                .transpose()?;
            let other = source.of(net, &batch.images, targets, &batch.ids, s_ib.as_ref())?;
            Ok(spearman(&heatmaps.maps, &other.maps)?)
        };
        let head = correlations(randomised.head.as_ref())?;
        let last_stage = correlations(randomised.last_stage.as_ref())?;
        let correlations = head.into_iter().zip(last_stage).zip(&heatmaps.undirected);
        for (row, ((head, last_stage), &undirected)) in rows.iter_mut().zip(correlations) {
            let why = head.err().or(last_stage.err()).map(Exclusion::name);
            let why = if undirected { Some(NO_DIRECTION) } else { why };
            row.sanity_excluded = why.map(str::to_owned);
            row.rank_correlation_head = head.ok();
            row.rank_correlation_last_stage = last_stage.ok();
        }
        Ok(())
    }

    /// Insertion and deletion, image by image: what the methods share is computed once.
    fn perturb(
        &mut self,
        number: usize,
        batch: &Batch,
        by_method: &mut [(Heatmaps, Vec<ImageRow>)],
        sums: &mut Vec<CurveSums>,
    ) -> Result<()> {
        let mut curves = vec![Vec::new(); by_method.len()];
        for i in 0..batch.len() {
            let subject = self
                .perturber
                .subject(&batch.images.get(i as i64))
                .with_context(|| batch.ids[i].clone())?;
            for ((heatmaps, rows), curves) in by_method.iter_mut().zip(&mut curves) {
                let row = &mut rows[i];
                if row.heatmap_excluded.is_some() {
                    continue;
                }
                if heatmaps.undirected[i] {
                    row.faithfulness_excluded = Some(NO_DIRECTION.to_owned());
                    continue;
                }
                match self
                    .perturber
                    .score(&subject, &heatmaps.maps.get(i as i64))
                    .with_context(|| format!("{}: {}", batch.ids[i], row.method))?
                {
                    Ok(scored) => {
                        row.insertion_auc = Some(scored.insertion.auc());
                        row.deletion_auc = Some(scored.deletion.auc());
                        curves.push(scored);
                    }
                    Err(exclusion) => {
                        row.faithfulness_excluded = Some(exclusion.name().to_owned());
                    }
                }
            }
        }
        for (source, curves) in self.sources.iter().zip(&curves) {
            sums.extend(CurveSums::of_batch(number, source.name(), curves)?);
        }
        Ok(())
    }
}

/// The object's share of each image that has ground truth.
fn foreground_fracs(batch: &Batch) -> Vec<Option<f64>> {
    let Some(truth) = &batch.ground_truth else { return vec![None; batch.len()] };
    let fracs = truth.to_kind(Kind::Double).mean_dim([1i64, 2].as_slice(), false, Kind::Double);
    let frac = |(i, &annotated): (usize, &bool)| annotated.then(|| fracs.double_value(&[i as i64]));
    batch.annotated.iter().enumerate().map(frac).collect()
}

/// The edges of the box around the foreground of `mask` `[H,W]`; none where there is no foreground.
/// As corners they are x, y, x + width and y + height, so that a border and a mask of the same pixels
/// have the same box in MaxBoxAcc (decision L4).
fn around(mask: &Tensor) -> Result<Vec<BBox>> {
    // First and last place along an axis where any pixel across it is foreground.
    let extent = |across: i64| -> Result<Option<(f32, f32)>> {
        let any: Vec<bool> = mask.any_dim(across, false).try_into()?;
        let first = any.iter().position(|&inside| inside);
        let last = any.iter().rposition(|&inside| inside);
        Ok(first.zip(last).map(|(first, last)| (first as f32, (last + 1) as f32)))
    };
    Ok(match (extent(0)?, extent(1)?) {
        (Some((x0, x1)), Some((y0, y1))) => vec![BBox::new(x0, y0, x1, y1)],
        _ => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use sib_metrics::localization::max_box_acc::Contours;

    use super::*;

    #[test]
    fn the_box_around_a_mask_includes_its_last_pixels() {
        let mask = Tensor::zeros([6, 8], (Kind::Bool, Device::Cpu));
        assert!(around(&mask).unwrap().is_empty());
        for (row, column) in [(1, 5), (3, 2)] {
            let _ = mask.narrow(0, row, 1).narrow(1, column, 1).fill_(1);
        }
        assert_eq!(around(&mask).unwrap(), [BBox::new(2.0, 1.0, 6.0, 4.0)]);
    }

    #[test]
    fn a_heatmap_that_is_the_mask_is_found_however_small() {
        let mask = Tensor::zeros([6, 8], (Kind::Bool, Device::Cpu));
        for (row, column) in [(1, 5), (5, 7)] {
            let _ = mask.narrow(0, row, 1).narrow(1, column, 1).fill_(1);
            let heatmap = mask.to_kind(Kind::Float).unsqueeze(0);
            let hits = box_hits(&heatmap, &[around(&mask).unwrap()], Contours::Largest).unwrap();
            let hits = hits[0].unwrap();
            // The second is in two pieces, the larger of equal areas the last.
            let found = row == 1;
            assert_eq!(hits.0.map(|levels| levels.contains(0)), [found; 3]);
        }
    }
}
