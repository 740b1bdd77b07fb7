//! One pass over the data: each image is decoded once, predicted once, and explained once by each
//! method, whatever suites measure of it.

use std::ops::Range;

use anyhow::Result;
use csv::StringRecord;
use sib_core::Mode;
use sib_core::data::{Batch, Dataset};
use sib_explain::{Method, SIbMap};
use tch::Kind;

use super::calibration::Temperatures;
use super::contents::Contents;
use super::heatmaps::{HeatmapSource, Heatmaps};
use super::image_row::{Digests, ImageRow, UNREADABLE_HEATMAP, UNREADABLE_IMAGE};
use super::logs::{Measured, members};
use super::rows;
use super::settings::{Settings, Target};
use super::suite::Suite;
use super::suites::accuracy::Predictions;
use super::suites::{Explained, Measure, Opening, Scores};
use crate::checkpoint::Checkpoint;
use crate::progress::Progress;
use crate::records::Table;

/// Measures batches of one dataset.
#[derive(Debug)]
pub struct Pass<'e> {
    checkpoint: &'e Checkpoint,
    settings: &'e Settings,
    dataset: &'e Dataset,
    contents: Contents<'e>,
    sources: &'e Sources,
    suites: Vec<(Suite, Box<dyn Measure + 'e>)>,
}

/// Where the heatmaps of an evaluation come from, and what makes R and M.
#[derive(Debug)]
pub struct Sources {
    sources: Vec<HeatmapSource>,
    s_ib_map: SIbMap,
}

impl Sources {
    /// Those that `settings` ask for.
    ///
    /// # Errors
    /// When an explainer cannot be made or a heatmap is missing.
    pub fn new(settings: &Settings, dataset: &Dataset) -> Result<Self> {
        let options = &settings.method_options;
        let ids: Vec<&str> = dataset.records.iter().map(|record| record.id.as_str()).collect();
        let methods = settings.methods.iter().map(|&method| HeatmapSource::method(method, options));
        let folders = settings
            .heatmaps
            .iter()
            .map(|(name, folder)| HeatmapSource::folder(name, folder, &ids));
        let sources = methods.chain(folders).collect::<Result<_>>()?;
        Ok(Self {
            sources,
            s_ib_map: SIbMap::new(&options.s_ib_map, options.batch_size_of(Method::SIbMap))?,
        })
    }

    /// Their names; one empty name where there is none, since each image has a row.
    pub fn names(&self) -> Vec<String> {
        if self.sources.is_empty() {
            return vec![String::new()];
        }
        self.sources.iter().map(|source| source.name().to_owned()).collect()
    }
}

impl<'e> Pass<'e> {
    /// Opens the suites. The labels of `dataset` are indices of the checkpoint's classes.
    ///
    /// # Errors
    /// When a suite cannot work on this network.
    pub fn new(
        checkpoint: &'e Checkpoint,
        settings: &'e Settings,
        dataset: &'e Dataset,
        sources: &'e Sources,
        temperatures: Option<Temperatures>,
    ) -> Result<Self> {
        let full = settings.batch_size.min(dataset.records.len());
        let s_ib_map = &sources.s_ib_map;
        let opening = Opening { checkpoint, settings, s_ib_map, full, temperatures };
        let mut suites = Vec::new();
        for &suite in &settings.suites {
            if let Some(measure) = suite.definition().open(opening)? {
                suites.push((suite, measure));
            }
        }
        let contents = Contents::new(settings, dataset);
        Ok(Self { checkpoint, settings, dataset, contents, sources, suites })
    }

    /// The rows of batch `number`, image by image, those that could not be decoded among them, and what
    /// is wrong with heatmaps in words. `decoded` holds the other images, where there are any; `progress` is told what is
    /// being done.
    ///
    /// # Errors
    /// When the network's output is not finite, or an explainer cannot work on it.
    pub fn measure(
        &mut self,
        number: usize,
        decoded: Option<Batch>,
        progress: &Progress,
    ) -> Result<(Measured, Vec<String>)> {
        let members = members(number, self.settings, self.dataset);
        let Some(batch) = decoded else {
            let own = self.suites.iter().filter(|(suite, _)| suite.definition().log().is_some());
            let suites = own.map(|(_, measure)| measure.nothing(number, &self.sources.sources));
            let suites = suites.collect::<Result<_>>()?;
            return Ok((
                Measured { images: self.rows(number, members, None)?, suites },
                Vec::new(),
            ));
        };
        let net = self.checkpoint.backbone.as_ref();
        let logits = tch::no_grad(|| net.forward(&batch.images, Mode::Eval));
        let predictions = Predictions::of(&logits, &batch)?;
        let asks_for_vjp = self.settings.suites.iter().any(|suite| suite.definition().needs_vjp())
            || self.sources.sources.iter().any(|source| matches!(source, HeatmapSource::SIbMap));
        let s_ib =
            asks_for_vjp.then(|| self.sources.s_ib_map.maps(net, &batch.images)).transpose()?;
        let targets = match self.settings.target {
            Target::Predicted => &predictions.predicted,
            Target::Label => &batch.labels,
        };
        let heatmaps = self
            .sources
            .sources
            .iter()
            .map(|source| {
                progress
                    .within(|| format!("heatmaps of the next {}: {}", batch.len(), source.name()));
                source.of(net, &batch.images, targets, &batch.ids, s_ib.as_ref())
            })
            .collect::<Result<Vec<Heatmaps>>>()?;
        let explained = Explained {
            number,
            batch: &batch,
            records: batch.indices.iter().map(|&index| &self.dataset.records[index]).collect(),
            targets,
            s_ib: s_ib.as_ref(),
            sources: &self.sources.sources,
            heatmaps: &heatmaps,
            progress,
        };
        let mut logs = Vec::new();
        let mut scores = Vec::new();
        for (suite, measure) in &mut self.suites {
            let Scores { rows, log } = measure.measure(&explained)?;
            if suite.definition().log().is_some() {
                logs.push(log);
            }
            if suite.definition().columns().is_some() {
                scores.push((*suite, rows));
            }
        }
        let measured = MeasuredImages {
            batch: &batch,
            heatmaps: &heatmaps,
            predicted: (&predictions.predicted).try_into()?,
            predictions: &predictions,
            foreground_fracs: foreground_fracs(&batch)?,
            scores,
        };
        let images = self.rows(number, members, Some(&measured))?;
        let missing = heatmaps.iter().flat_map(|heatmaps| heatmaps.missing.iter().flatten());
        let faults = missing.cloned().chain(in_words(&images)?).collect();
        Ok((Measured { images, suites: logs }, faults))
    }

    /// The rows of a batch: those of images that were decoded with what `measured` knows of them.
    fn rows(
        &self,
        number: usize,
        members: Range<usize>,
        measured: Option<&MeasuredImages<'_>>,
    ) -> Result<Vec<StringRecord>> {
        let methods = self.sources.names();
        let images = &self.dataset.records[members.clone()];
        let digests = self.contents.digests(images, &methods);
        let mut records = Vec::with_capacity(images.len() * methods.len());
        for ((index, image), digests) in members.zip(images).zip(digests) {
            let place = measured.and_then(|measured| Some((measured, measured.place(index)?)));
            for (m, (method, digests)) in methods.iter().zip(digests).enumerate() {
                let row = ImageRow {
                    batch: number,
                    image: image.id.clone(),
                    label: image.label,
                    method: method.clone(),
                    ..ImageRow::default()
                };
                records.push(match place {
                    Some((measured, i)) => measured.record(row, i, m, &digests)?,
                    None => {
                        let image_excluded = Some(UNREADABLE_IMAGE.to_owned());
                        rows::record(&ImageRow { image_excluded, ..row }, &[], &digests)?
                    }
                });
            }
        }
        Ok(records)
    }
}

/// What was measured of the images of a batch that could be decoded.
struct MeasuredImages<'b> {
    batch: &'b Batch,
    heatmaps: &'b [Heatmaps],
    predicted: Vec<i64>,
    predictions: &'b Predictions,
    foreground_fracs: Vec<Option<f64>>,
    /// Of each suite with columns, image by image and in each source by source.
    scores: Vec<(Suite, Vec<StringRecord>)>,
}

impl MeasuredImages<'_> {
    /// The place in the batch of the image of this index in the dataset.
    fn place(&self, index: usize) -> Option<usize> {
        self.batch.indices.iter().position(|&decoded| decoded == index)
    }

    /// The record of image `i` and heatmap `m`, of which `row` holds what was known before.
    fn record(&self, row: ImageRow, i: usize, m: usize, digests: &Digests) -> Result<StringRecord> {
        let missing = self.heatmaps.get(m).and_then(|heatmaps| heatmaps.missing[i].as_ref());
        let row = ImageRow {
            predicted: Some(self.predicted[i]),
            probability: Some(self.predictions.probabilities[i]),
            label_rank: Some(self.predictions.label_ranks[i]),
            foreground_frac: self.foreground_fracs[i],
            heatmap_excluded: missing.map(|_| UNREADABLE_HEATMAP.to_owned()),
            ..row
        };
        let place = i * self.heatmaps.len() + m;
        let own = self.scores.iter().map(|(suite, rows)| (*suite, rows[place].clone()));
        rows::record(&row, &own.collect::<Vec<_>>(), digests)
    }
}

/// The object's share of each image that has ground truth.
fn foreground_fracs(batch: &Batch) -> Result<Vec<Option<f64>>> {
    let Some(truth) = &batch.ground_truth else { return Ok(vec![None; batch.len()]) };
    let fracs = truth.to_kind(Kind::Double).mean_dim([1i64, 2].as_slice(), false, Kind::Double);
    let fracs = Vec::<f64>::try_from(fracs)?;
    Ok(batch.annotated.iter().zip(fracs).map(|(&known, frac)| known.then_some(frac)).collect())
}

/// What is wrong with heatmaps that there are.
fn in_words(records: &[StringRecord]) -> Result<Vec<String>> {
    let header = rows::header();
    let table = Table { header: &header, records };
    let rows = table.rows::<ImageRow>()?;
    let faults = rows::faults(table, &rows);
    let of_heatmaps = rows.iter().zip(faults).filter(|(row, _)| row.excluded().is_none());
    Ok(of_heatmaps
        .filter_map(|(row, fault)| Some(format!("{}: {}: {}", row.image, row.method, fault?)))
        .collect())
}
