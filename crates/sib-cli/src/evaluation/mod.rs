//! Evaluation of a network and its heatmaps on a dataset: one pass, batch by batch, that may be
//! interrupted at any moment and continued to the same bytes.

pub mod batch_log;
pub mod folder;
pub mod heatmaps;
pub mod network;
pub mod pass;
pub mod record;
pub mod settings;
pub mod summary;

use std::path::Path;

use anyhow::{Result, bail};
use sib_core::data::{Dataset, Loader, LoaderOptions, OnUnreadable};

use crate::checkpoint::Checkpoint;
use crate::progress::Progress;
use batch_log::BatchLog;
use folder::{Description, EvaluationDir, PER_IMAGE, SUMMARY};
use pass::Pass;
use record::ImageRow;
use settings::Suite;
use summary::{MetricRow, summarise, to_csv};

/// A finished evaluation.
#[derive(Debug)]
pub struct Finished {
    /// The rows of `summary.csv`.
    pub summary: Vec<MetricRow>,
    /// Images or heatmaps that could not be used, each once.
    pub faults: usize,
}

/// Brings the evaluation in the folder at `output` to its end: from the start, or from where it
/// was interrupted. `dataset` holds the images in the order in which they are visited.
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
    let loader = Loader::new(
        dataset,
        checkpoint.transform.clone(),
        LoaderOptions {
            batch_size: settings.batch_size,
            ground_truth: settings.has(Suite::Localization).then_some(settings.ground_truth),
            on_unreadable: OnUnreadable::Skip,
            ..LoaderOptions::default()
        },
    )?;
    let records = &loader.dataset().records;
    let ids: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
    let members = |number: usize| {
        let first = number * settings.batch_size;
        first..(first + settings.batch_size).min(ids.len())
    };
    let folder = EvaluationDir::open(output, description)?;
    let mut log = BatchLog::<ImageRow>::open(&folder.file(PER_IMAGE), |number, rows| {
        let expected =
            members(number).flat_map(|index| methods.iter().map(move |&method| (index, method)));
        rows.iter()
            .map(|row| (row.image.as_str(), row.method.as_str()))
            .eq(expected.map(|(index, method)| (ids[index], method)))
    })?;
    log.truncate(log.batches())?;

    let batches = loader.batches_per_epoch();
    let done = log.batches();
    if done == batches {
        eprintln!("{}: already complete", output.display());
    } else if done > 0 {
        eprintln!("{}: going on after batch {done} of {batches}", output.display());
    }
    let first = (done * settings.batch_size).min(ids.len());
    let mut progress = Progress::new("evaluate", ids.len() as u64, first as u64, "images");
    let mut epoch = loader.epoch(0, done);
    let mut reported = 0;
    let mut ready = epoch.next().transpose()?;
    for number in done..batches {
        let members = members(number);
        // A batch of which no image could be decoded does not come.
        let is_here = ready.as_ref().is_some_and(|batch| members.contains(&batch.indices[0]));
        let mut rows = Vec::new();
        let mut read = Vec::new();
        if let Some(batch) = ready.take_if(|_| is_here) {
            read.clone_from(&batch.indices);
            rows = pass.measure(number, batch)?;
        }
        let mut rows = rows.into_iter();
        let rows = members
            .clone()
            .flat_map(|index| {
                if read.contains(&index) {
                    rows.by_ref().take(methods.len()).collect()
                } else {
                    pass.unreadable(number, ids[index], records[index].label)
                }
            })
            .collect();
        log.append(rows)?;
        if is_here {
            ready = epoch.next().transpose()?;
        }
        for unreadable in epoch.unreadable().into_iter().skip(reported) {
            progress.println(&format!("error: {}", unreadable.error));
            reported += 1;
        }
        let rate = progress.rate();
        progress.advance(members.len() as u64, || format!("{rate:.1} images/s"));
    }
    progress.finish();
    let summary = summarise(log.rows(), &methods, description);
    folder.write(SUMMARY, &to_csv(&summary)?)?;
    let faults = log.rows().iter().filter(|row| row.is_fault()).count();
    Ok(Finished { summary, faults })
}

/// Fails where an evaluation met images or heatmaps that it could not use.
///
/// # Errors
/// When there was one, with their number.
pub fn expect_no_faults(finished: &Finished, output: &Path) -> Result<()> {
    match finished.faults {
        0 => Ok(()),
        n => bail!(
            "{n} rows of {} are of unreadable images or of heatmaps that are not finite; the \
             summary leaves them out",
            output.join(PER_IMAGE).display()
        ),
    }
}
