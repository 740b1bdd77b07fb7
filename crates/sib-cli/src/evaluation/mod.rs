//! Evaluation of a network and its heatmaps on a dataset: one pass, batch by batch, that may be
//! interrupted at any moment and continued to the same bytes.

pub mod batch_log;
pub mod contents;
pub mod curves;
pub mod folder;
pub mod heatmaps;
pub mod information;
pub mod logs;
pub mod network;
pub mod npy;
pub mod pass;
pub mod randomised;
pub mod record;
pub mod settings;
pub mod summary;
pub mod summary_row;

use std::path::Path;

use anyhow::{Result, bail};
use sib_core::data::loader::Epoch;
use sib_core::data::{Batch, Dataset, Loader, LoaderOptions, OnUnreadable};

use crate::checkpoint::Checkpoint;
use crate::note;
use crate::progress::Progress;
use contents::Contents;
use folder::{CURVES, Description, EvaluationDir, PER_IMAGE, SUMMARY};
use logs::{Logs, members};
use pass::{Measured, Pass};
use record::ImageRow;
use settings::{Settings, Suite};
use summary::{no_object, summarise};
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
    let pass = Pass::new(checkpoint, settings, &dataset)?;
    let methods = pass.methods();
    let options = LoaderOptions {
        batch_size: settings.batch_size,
        ground_truth: settings.has(Suite::Localization).then_some(settings.ground_truth),
        on_unreadable: OnUnreadable::Skip,
        ..LoaderOptions::default()
    };
    let loader = Loader::new(dataset, checkpoint.transform.clone(), options)?;
    let dataset = loader.dataset();
    let folder = EvaluationDir::open(output, description)?;
    let mut logs = Logs::open(&folder, settings, dataset, &methods)?;

    let (done, batches) = (logs.batches(), loader.batches_per_epoch());
    let contents = Contents::new(settings, dataset);
    let mended = contents.mended(logs.images(), &methods)?;
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
    let mut measurer = Measurer { pass, settings, dataset, contents, methods: &methods };
    if !mended.is_empty() {
        progress.println(&format!(
            "{}: {} batches with what could not be used before are measured again",
            output.display(),
            mended.len()
        ));
        let mut again = Vec::with_capacity(mended.len());
        for number in mended {
            let mut decoded = Decoded::new(loader.epoch(0, number))?;
            again.push((number, measurer.measure(number, &mut decoded, &progress)?));
        }
        logs.replace(again)?;
    }
    let mut decoded = Decoded::new(loader.epoch(0, done))?;
    for number in done..batches {
        logs.append(measurer.measure(number, &mut decoded, &progress)?)?;
        progress.advance(members(number, settings, dataset).len() as u64, String::new);
    }
    progress.finish();

    if let Some(sums) = logs.curves() {
        let crop_px = checkpoint.meta.preprocessing.crop_px as usize;
        let step_px = settings.faithfulness.step_px;
        folder.write(CURVES, &curves::to_csv(sums, &methods, crop_px * crop_px, step_px)?)?;
    }
    let summary = summarise(logs.images(), logs.information(), &methods, description);
    folder.write(SUMMARY, &summary_row::to_csv(&summary)?)?;
    let mut faults = logs.images().iter().filter(|row| row.fault().is_some());
    let first_fault = faults.next().map(in_words);
    let faults = faults.count() + usize::from(first_fault.is_some());
    let without_object = settings.has(Suite::Localization) && no_object(logs.images());
    Ok(Finished { summary, faults, first_fault, without_object })
}

/// Measures batches and puts their rows in order.
struct Measurer<'e> {
    pass: Pass<'e>,
    settings: &'e Settings,
    dataset: &'e Dataset,
    contents: Contents<'e>,
    methods: &'e [String],
}

impl Measurer<'_> {
    /// Batch `number`, the next that `decoded` may hold: image by image, those that could not be
    /// decoded among them.
    fn measure(
        &mut self,
        number: usize,
        decoded: &mut Decoded,
        progress: &Progress,
    ) -> Result<Measured> {
        let members = members(number, self.settings, self.dataset);
        let (mut measured, indices) = match decoded.take(&members)? {
            Some(batch) => {
                let indices = batch.indices.clone();
                (self.pass.measure(number, batch, self.dataset)?, indices)
            }
            None => (self.pass.measure_nothing(number)?, Vec::new()),
        };
        for fault in decoded.faults().into_iter().chain(std::mem::take(&mut measured.faults)) {
            progress.println(&format!("error: {fault}"));
        }
        let mut rows = std::mem::take(&mut measured.images).into_iter();
        for index in members {
            if indices.contains(&index) {
                measured.images.extend(rows.by_ref().take(self.methods.len()));
            } else {
                let record = &self.dataset.records[index];
                measured.images.extend(self.pass.unreadable(number, &record.id, record.label));
            }
        }
        self.contents.note(number, self.methods, &mut measured.images);
        Ok(measured)
    }
}

fn in_words(row: &ImageRow) -> String {
    let method = if row.method.is_empty() { String::new() } else { format!(", {}", row.method) };
    format!("{}{method}: {}", row.image, row.fault().unwrap_or_default())
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

    /// The batch of these images, where there is one.
    fn take(&mut self, members: &std::ops::Range<usize>) -> Result<Option<Batch>> {
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
