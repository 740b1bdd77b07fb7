//! Evaluation of a network and its heatmaps on a dataset: one pass, batch by batch, that may be
//! interrupted at any moment and continued to the same bytes.

pub mod batch_log;
pub mod choices;
pub mod collector;
pub mod contents;
pub mod description;
pub mod files;
pub mod folder;
pub mod heatmaps;
pub mod identity;
pub mod image_row;
pub mod images;
pub mod logs;
pub mod npy;
pub mod pass;
pub mod rows;
pub mod settings;
pub mod suite;
pub mod suites;
pub mod summary;
pub mod summary_row;

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, bail};
use sib_core::data::loader::Epoch;
use sib_core::data::{Batch, Dataset, Loader, LoaderOptions, OnUnreadable};

use crate::checkpoint::Checkpoint;
use crate::note;
use crate::progress::Progress;
use contents::Contents;
use description::Description;
use files::{PER_IMAGE, SUMMARY};
use folder::EvaluationDir;
use image_row::ImageRow;
use logs::{Logs, Measured, members};
use pass::{Pass, Sources};
use settings::Settings;
use suite::Suite;
use suites::Logged;
use suites::localization::no_object;
use summary::summarise;
use summary_row::SummaryRow;

/// A finished evaluation.
#[derive(Debug)]
pub struct Finished {
    /// The rows of `summary.csv`.
    pub summary: Vec<SummaryRow>,
    /// Rows of `per_image.csv` with an image or heatmap that could not be used.
    pub faults: usize,
    /// The first of them.
    first_fault: Option<String>,
    /// Localization was asked for, and no image has an object: there was nothing to find.
    pub without_object: bool,
}

/// Brings the evaluation in the folder at `output` to its end: from the start, or from where it
/// was interrupted. `dataset` holds the images in the order in which they are visited, labelled by
/// the checkpoint's classes.
///
/// # Errors
/// When the folder belongs to another evaluation, or an image cannot be measured.
pub fn run(
    description: &Description,
    checkpoint: &Checkpoint,
    dataset: Dataset,
    output: &Path,
) -> Result<Finished> {
    let settings = &description.settings;
    let sources = Sources::new(settings, &dataset)?;
    let methods = sources.names();
    let options = LoaderOptions {
        batch_size: settings.batch_size,
        ground_truth: settings
            .has(Suite::Localization)
            .then_some(settings.localization.ground_truth),
        on_unreadable: OnUnreadable::Skip,
        device: checkpoint.device,
        ..LoaderOptions::default()
    };
    let loader = Loader::new(dataset, checkpoint.transform.clone(), options)?;
    let dataset = loader.dataset();
    let mut pass = Pass::new(checkpoint, settings, dataset, &sources)?;
    let folder = EvaluationDir::open(output, description)?;
    let mut logs = Logs::open(&folder, settings, dataset, &methods)?;

    let (done, batches) = (logs.batches(), loader.batches_per_epoch());
    let mended = Contents::new(settings, dataset).mended(logs.images(), &methods)?;
    if done < batches {
        if done > 0 {
            note!("{}: going on after batch {done} of {batches}", output.display());
        }
    } else if mended.is_empty() {
        note!("{}: already complete", output.display());
    }
    if done < batches || !mended.is_empty() {
        folder.reopen()?;
    }
    let images = dataset.records.len();
    let first = (done * settings.batch_size).min(images);
    let mut progress = Progress::new("evaluate", images as u64, first as u64, "images");
    if !mended.is_empty() {
        progress.println(&format!(
            "{}: {} batches with what could not be used before are measured again",
            output.display(),
            mended.len()
        ));
        let mut again = Vec::with_capacity(mended.len());
        for number in mended {
            let mut decoded = Decoded::new(loader.epoch(0, number))?;
            again
                .push((number, decoded.measured(number, settings, dataset, &mut pass, &progress)?));
        }
        logs.replace(again)?;
    }
    let mut decoded = Decoded::new(loader.epoch(0, done))?;
    for number in done..batches {
        logs.append(decoded.measured(number, settings, dataset, &mut pass, &progress)?)?;
        progress.advance(members(number, settings, dataset).len() as u64, String::new);
    }
    progress.finish();

    let rows = logs.images().rows::<ImageRow>()?;
    let logged =
        Logged { images: logs.images(), rows: &rows, methods: &methods, logs: &logs.suites() };
    let crop_px = checkpoint.meta.preprocessing.crop_px as usize;
    let finished = suites::Finished { settings, crop_px };
    for suite in &settings.suites {
        for (name, content) in suite.definition().files(&logged, finished)? {
            folder.write(name, &content)?;
        }
    }
    let summary = summarise(&logged, description)?;
    folder.write(SUMMARY, &summary_row::to_csv(&summary)?)?;
    let faults = rows::faults(logged.images, &rows);
    let mut faults =
        rows.iter().zip(&faults).filter_map(|(row, fault)| Some((row, fault.as_ref()?)));
    let first_fault = faults.next().map(|(row, fault)| in_words(row, fault));
    let faults = faults.count() + usize::from(first_fault.is_some());
    let without_object = settings.has(Suite::Localization) && no_object(&rows);
    Ok(Finished { summary, faults, first_fault, without_object })
}

fn in_words(row: &ImageRow, fault: &str) -> String {
    let method = if row.method.is_empty() { String::new() } else { format!(", {}", row.method) };
    format!("{}{method}: {fault}", row.image)
}

impl Finished {
    /// Fails where the evaluation met images or heatmaps that it could not use.
    ///
    /// # Errors
    /// When there was one, with their number and the first.
    pub fn expect_no_faults(&self, output: &Path) -> Result<()> {
        let Some(first) = &self.first_fault else { return Ok(()) };
        bail!(
            "{}: {} rows of images or heatmaps that cannot be used, the first of {first}; the \
             summary leaves them out",
            output.join(PER_IMAGE).display(),
            self.faults
        )
    }
}

/// The loader's batches by number. One of which no image could be decoded does not come.
struct Decoded {
    epoch: Epoch,
    next: Option<Batch>,
    reported: usize,
}

impl Decoded {
    fn new(mut epoch: Epoch) -> Result<Self> {
        let next = epoch.next().transpose()?;
        Ok(Self { epoch, next, reported: 0 })
    }

    /// The rows of batch `number`, the next that the loader may have decoded. What is wrong with its
    /// images and heatmaps is printed.
    fn measured(
        &mut self,
        number: usize,
        settings: &Settings,
        dataset: &Dataset,
        pass: &mut Pass<'_>,
        progress: &Progress,
    ) -> Result<Measured> {
        let batch = self.take(&members(number, settings, dataset))?;
        let (measured, faults) = pass.measure(number, batch)?;
        for fault in self.faults().into_iter().chain(faults) {
            progress.println(&format!("error: {fault}"));
        }
        Ok(measured)
    }

    /// The batch of these images, where there is one.
    fn take(&mut self, members: &Range<usize>) -> Result<Option<Batch>> {
        let batch = self.next.take_if(|batch| members.contains(&batch.indices[0]));
        if batch.is_some() {
            self.next = self.epoch.next().transpose()?;
        }
        Ok(batch)
    }

    /// What could not be decoded since the last call.
    fn faults(&mut self) -> Vec<String> {
        let unreadable = self.epoch.unreadable();
        let new = unreadable[self.reported..].iter().map(|image| image.error.clone()).collect();
        self.reported = unreadable.len();
        new
    }
}
