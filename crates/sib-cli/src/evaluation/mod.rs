//! Evaluation of a network and its heatmaps on a dataset: one pass, batch by batch, that may be
//! interrupted at any moment and continued to the same bytes.

pub mod batch_log;
pub mod calibration;
pub mod choices;
pub mod collector;
pub mod confusion;
pub mod contents;
pub mod description;
pub mod files;
pub mod folder;
pub mod heatmaps;
pub mod identity;
pub mod image_row;
pub mod images;
pub mod logs;
pub mod pass;
pub mod rows;
pub mod settings;
pub mod sharing;
pub mod suite;
pub mod suites;
pub mod summary;
pub mod summary_row;

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, bail};
use sib_core::data::loader::Epoch;
use sib_core::data::{Batch, Dataset, Loader, LoaderOptions, OnUnreadable};
use sib_core::group::Group;

use crate::checkpoint::Checkpoint;
use crate::note;
use crate::progress::Progress;
use calibration::Temperatures;
use contents::Contents;
use description::Description;
use files::{PER_IMAGE, SUMMARY};
use folder::EvaluationDir;
use image_row::ImageRow;
use logs::{Logs, members};
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
/// the checkpoint's classes. The processes of `group` share the batches; the first keeps the folder and alone knows
/// what came of them.
///
/// # Errors
/// When the folder belongs to another evaluation, or an image cannot be measured; where another process does not
/// take part.
pub fn run(
    description: &Description,
    checkpoint: &Checkpoint,
    dataset: Dataset,
    output: &Path,
    group: &Group,
) -> Result<Option<Finished>> {
    let settings = &description.settings;
    let sources = Sources::new(settings, &dataset)?;
    let temperatures = (settings.calibrate && settings.has(Suite::Faithfulness))
        .then(|| Temperatures::cross_fitted(checkpoint, settings, &dataset))
        .transpose()?;
    let methods = sources.names();
    let options = LoaderOptions {
        batch_size: settings.batch_size,
        ground_truth: settings
            .has(Suite::Localization)
            .then_some(settings.localization.ground_truth),
        on_unreadable: OnUnreadable::Skip,
        device: checkpoint.device,
        part_of_batches: group.part(),
        ..LoaderOptions::default()
    };
    let loader = Loader::new(dataset, checkpoint.transform.clone(), options)?;
    let dataset = loader.dataset();
    let pass = Pass::new(checkpoint, settings, dataset, &sources, temperatures)?;
    let kept = || -> Result<_> {
        let folder = EvaluationDir::open(output, description)?;
        let logs = Logs::open(&folder, settings, dataset, &methods)?;
        Ok((folder, logs))
    };
    let mut kept = group.is_first().then(kept).transpose()?;
    let known = kept.as_ref().map(|(_, logs)| -> Result<_> {
        let mended = Contents::new(settings, dataset).mended(logs.images(), &methods)?;
        Ok((logs.batches(), mended.into_iter().collect()))
    });
    let (done, mended) = sharing::told(group, known.transpose()?)?;

    let batches = loader.batches_per_epoch();
    if done < batches {
        if done > 0 {
            note!("{}: going on after batch {done} of {batches}", output.display());
        }
    } else if mended.is_empty() {
        note!("{}: already complete", output.display());
    }
    if let Some((folder, _)) = kept.as_ref().filter(|_| done < batches || !mended.is_empty()) {
        folder.reopen()?;
    }
    let images = dataset.records.len();
    let first = (done * settings.batch_size).min(images);
    let mut progress = Progress::new("evaluate", images as u64, first as u64, "images");
    let mut measuring = Measuring { loader: &loader, settings, pass };
    let is_own = |number: &usize| group.part().has(*number);
    if !mended.is_empty() {
        progress.println(&format!(
            "{}: {} batches with what could not be used before are measured again",
            output.display(),
            mended.len()
        ));
        let own = mended.into_iter().filter(is_own).map(|number| {
            let mut decoded = Decoded::new(loader.epoch(0, number))?;
            measuring.batch(number, &mut decoded, &progress)
        });
        let again = sharing::gathered(group, own.collect::<Result<_>>()?)?;
        if let Some((_, logs)) = &mut kept {
            again.iter().for_each(|batch| say_faults(batch, &progress));
            logs.replace(again.into_iter().map(|it| (it.number, it.measured)).collect())?;
        }
    }
    let mut decoded = Decoded::new(loader.epoch(0, done))?;
    let all: Vec<usize> = (done..batches).collect();
    for round in all.chunks(group.size()) {
        let own = round.iter().copied().filter(is_own);
        let own = own.map(|number| measuring.batch(number, &mut decoded, &progress));
        let measured = sharing::gathered(group, own.collect::<Result<_>>()?)?;
        let Some((_, logs)) = &mut kept else { continue };
        for batch in measured {
            say_faults(&batch, &progress);
            let images = members(batch.number, settings, dataset).len();
            logs.append(batch.measured)?;
            progress.advance(images as u64, String::new);
        }
    }
    progress.finish();
    let Some((folder, logs)) = kept else { return Ok(None) };

    let rows = logs.images().rows::<ImageRow>()?;
    let logged =
        Logged { images: logs.images(), rows: &rows, methods: &methods, logs: &logs.suites() };
    let crop_px = checkpoint.meta.preprocessing.crop_px as usize;
    let finished = suites::Finished { settings, crop_px, classes: &dataset.classes };
    for suite in &settings.suites {
        for (name, content) in suite.definition().files(&logged, finished)? {
            folder.write(name, &content)?;
        }
    }
    let summary = summarise(&logged, description)?;
    folder.write(SUMMARY, &summary_row::to_csv(&summary)?)?;
    note!("written: {}", output.join(SUMMARY).display());
    let faults = rows::faults(logged.images, &rows);
    let mut faults =
        rows.iter().zip(&faults).filter_map(|(row, fault)| Some((row, fault.as_ref()?)));
    let first_fault = faults.next().map(|(row, fault)| in_words(row, fault));
    let faults = faults.count() + usize::from(first_fault.is_some());
    let without_object = settings.has(Suite::Localization) && no_object(&rows);
    Ok(Some(Finished { summary, faults, first_fault, without_object }))
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

fn say_faults(batch: &sharing::Batch, progress: &Progress) {
    batch.faults.iter().for_each(|fault| progress.error(fault));
}

/// What batches are measured with.
struct Measuring<'e> {
    loader: &'e Loader,
    settings: &'e Settings,
    pass: Pass<'e>,
}

impl Measuring<'_> {
    /// Batch `number`, the next that the loader may have `decoded`.
    fn batch(
        &mut self,
        number: usize,
        decoded: &mut Decoded,
        progress: &Progress,
    ) -> Result<sharing::Batch> {
        let batch = decoded.take(&members(number, self.settings, self.loader.dataset()))?;
        let (measured, of_heatmaps) = self.pass.measure(number, batch, progress)?;
        let faults = decoded.faults().into_iter().chain(of_heatmaps).collect();
        Ok(sharing::Batch { number, measured, faults })
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
