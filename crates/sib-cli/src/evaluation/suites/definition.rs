//! What a suite is to the pass over the images and to what comes after it.

use std::fmt;

use anyhow::Result;
use csv::StringRecord;
use serde::Serialize;
use sib_core::data::{Batch, Dataset, Record};
use sib_explain::{SIbMap, SIbMaps};
use tch::Tensor;

use crate::checkpoint::Checkpoint;
use crate::evaluation::calibration::Temperatures;
use crate::evaluation::collector::Collector;
use crate::evaluation::heatmaps::{HeatmapSource, Heatmaps};
use crate::evaluation::image_row::ImageRow;
use crate::evaluation::settings::Settings;
use crate::evaluation::suite::Suite;
use crate::progress::Progress;
use crate::records::{Columns, Table, fields};

/// What a suite's numbers depend on beside the network and the images, as key and value; in this order
/// in `summary.csv`.
pub type Identity = Vec<(&'static str, String)>;

/// All that is to know of a suite before and after it measures.
pub trait Definition: fmt::Debug {
    /// Whether it scores heatmaps.
    fn needs_heatmaps(&self) -> bool {
        false
    }

    /// Whether it reads R and M of each batch.
    fn needs_vjp(&self) -> bool {
        false
    }

    /// Its columns of `per_image.csv`, where it has any.
    fn columns(&self) -> Option<Columns> {
        None
    }

    /// Its own file with rows of each batch, where it has one.
    fn log(&self) -> Option<Log> {
        None
    }

    /// What its numbers depend on, of all that was asked for.
    fn identity(&self, settings: &Settings) -> Identity {
        let _ = settings;
        Identity::new()
    }

    /// Checks what was asked for.
    ///
    /// # Errors
    /// When nothing could be measured so.
    fn validate(&self, settings: &Settings, dataset: &Dataset) -> Result<()> {
        let _ = (settings, dataset);
        Ok(())
    }

    /// Why the images of `dataset` cannot be measured; `None` where they can.
    fn lacks(&self, settings: &Settings, dataset: &Dataset) -> Option<String> {
        let _ = (settings, dataset);
        None
    }

    /// The suite at work, where it measures more than the predictions.
    ///
    /// # Errors
    /// When the network or a setting does not allow it.
    fn open<'e>(&self, of: Opening<'e>) -> Result<Option<Box<dyn Measure + 'e>>> {
        let _ = of;
        Ok(None)
    }

    /// For each row of `per_image.csv` whether its heatmap counts.
    ///
    /// # Errors
    /// When a row has not the suite's columns.
    fn measured(&self, images: Table<'_>) -> Result<Vec<bool>> {
        Ok(vec![true; images.records.len()])
    }

    /// Adds what its rows come to.
    ///
    /// # Errors
    /// When the rows are not of this version.
    fn summarise(&self, logged: &Logged<'_>, summary: &mut Collector<'_>) -> Result<()>;

    /// Its further files of a finished evaluation, by name.
    ///
    /// # Errors
    /// When the rows do not belong together.
    fn files(&self, logged: &Logged<'_>, of: Finished<'_>) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let _ = (logged, of);
        Ok(Vec::new())
    }
}

/// A file that a suite appends to, batch by batch; its first column is the number of the batch.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// Its name.
    pub file: &'static str,
    /// Its columns.
    pub columns: Columns,
    /// Whether rows are all that a batch has with these sources of heatmaps.
    pub is_whole: fn(Table<'_>, &[String]) -> bool,
}

/// What a suite is opened with.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'e> {
    /// The network.
    pub checkpoint: &'e Checkpoint,
    /// What was asked for.
    pub settings: &'e Settings,
    /// Makes R and M.
    pub s_ib_map: &'e SIbMap,
    /// Images of a whole batch.
    pub full: usize,
    /// Where scores are calibrated.
    pub temperatures: Option<Temperatures>,
}

/// What the files of a finished suite depend on.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'e> {
    /// What was asked for.
    pub settings: &'e Settings,
    /// Side of the network's input images.
    pub crop_px: usize,
    /// Names of the classes, in the order of the logits: the dataset's where the network has none.
    pub classes: &'e [String],
}

/// A suite at work on one network.
pub trait Measure: fmt::Debug {
    /// Measures a batch.
    ///
    /// # Errors
    /// When the network or an explainer cannot work on it at all.
    fn measure(&mut self, batch: &Explained<'_>) -> Result<Scores>;

    /// What stands in its own file for batch `number` where none of its images could be decoded.
    ///
    /// # Errors
    /// None but those of [`Self::measure`].
    fn nothing(&self, number: usize, sources: &[HeatmapSource]) -> Result<Vec<StringRecord>> {
        let _ = (number, sources);
        Ok(Vec::new())
    }
}

/// What a suite measured of a batch.
#[derive(Debug, Default)]
pub struct Scores {
    /// Fields of its columns of `per_image.csv`: image by image, in each source by source.
    pub rows: Vec<StringRecord>,
    /// Rows of its own file.
    pub log: Vec<StringRecord>,
}

impl Scores {
    /// Of rows in the order of [`Self::rows`].
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn of_rows<R: Serialize>(rows: &[R]) -> Result<Self> {
        Ok(Self { rows: rows.iter().map(fields).collect::<Result<_>>()?, log: Vec::new() })
    }
}

/// A batch with all that suites may ask of it, each made once.
#[derive(Debug)]
pub struct Explained<'b> {
    /// Its number, from 0.
    pub number: usize,
    /// Images, labels and ground truth, on the network's device.
    pub batch: &'b Batch,
    /// The images' records.
    pub records: Vec<&'b Record>,
    /// The class that the heatmaps explain, of each image `[B]`.
    pub targets: &'b Tensor,
    /// R and M, where a suite or a source of heatmaps asks for them.
    pub s_ib: Option<&'b SIbMaps>,
    /// Where heatmaps come from.
    pub sources: &'b [HeatmapSource],
    /// The heatmaps, source by source.
    pub heatmaps: &'b [Heatmaps],
    /// Whom to tell what is being done.
    pub progress: &'b Progress,
}

impl Explained<'_> {
    /// Rows in the order of `per_image.csv`, image by image, of rows that stand source by source.
    pub fn by_image<R>(&self, by_source: Vec<Vec<R>>) -> Vec<R> {
        let mut sources: Vec<_> = by_source.into_iter().map(Vec::into_iter).collect();
        let mut rows = Vec::with_capacity(self.batch.len() * sources.len());
        for _ in 0..self.batch.len() {
            rows.extend(sources.iter_mut().filter_map(Iterator::next));
        }
        rows
    }
}

/// The rows of an evaluation.
#[derive(Debug, Clone, Copy)]
pub struct Logged<'r> {
    /// `per_image.csv`.
    pub images: Table<'r>,
    /// The same as far as it does not belong to a suite.
    pub rows: &'r [ImageRow],
    /// Where the heatmaps come from; one empty name where there are none.
    pub methods: &'r [String],
    /// The files of the suites that have one.
    pub logs: &'r [(Suite, Table<'r>)],
}

/// A method and its rows, each with the columns `R` of a suite.
pub type OfMethod<'r, R> = (&'r str, Vec<(&'r ImageRow, R)>);

impl<'r> Logged<'r> {
    /// The rows of `suite`'s own file.
    pub fn log(&self, suite: Suite) -> Option<Table<'r>> {
        self.logs.iter().find(|(of, _)| *of == suite).map(|&(_, table)| table)
    }

    /// The rows method by method.
    ///
    /// # Errors
    /// When a row has not these columns.
    pub fn of_methods<R: serde::de::DeserializeOwned>(&self) -> Result<Vec<OfMethod<'r, R>>> {
        let mut of_methods: Vec<OfMethod<'r, R>> =
            self.methods.iter().map(|method| (method.as_str(), Vec::new())).collect();
        for (row, own) in self.rows.iter().zip(self.images.rows::<R>()?) {
            if let Some((_, rows)) = of_methods.iter_mut().find(|(name, _)| *name == row.method) {
                rows.push((row, own));
            }
        }
        Ok(of_methods)
    }
}
