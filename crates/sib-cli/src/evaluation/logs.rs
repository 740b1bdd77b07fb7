//! The files that grow batch by batch, kept in step with one another.

use std::ops::Range;

use anyhow::Result;
use sib_core::data::Dataset;

use super::batch_log::{BatchLog, BatchRows, Form};
use super::files::PER_IMAGE;
use super::folder::EvaluationDir;
use super::image_row::ImageRow;
use super::rows;
use super::settings::Settings;
use super::suite::Suite;
use super::suites::Log;
use crate::records::Table;

/// The rows of one batch.
#[derive(Debug)]
pub struct Measured {
    /// Of `per_image.csv`.
    pub images: BatchRows,
    /// Of the files of the suites that have one, in their order.
    pub suites: Vec<BatchRows>,
}

/// One log a file; those of suites that are not measured have none.
#[derive(Debug)]
pub struct Logs {
    images: BatchLog,
    suites: Vec<(Suite, BatchLog)>,
}

impl Logs {
    /// Opens the logs in `folder` and cuts them after the last batch that is whole in all of them.
    /// A batch is whole when it has the images of `dataset` in their order and each of `methods`.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn open(
        folder: &EvaluationDir,
        settings: &Settings,
        dataset: &Dataset,
        methods: &[String],
    ) -> Result<Self> {
        let has_all = |number, table: Table<'_>| {
            let records = members(number, settings, dataset).map(|index| &dataset.records[index]);
            let expected =
                records.flat_map(|of| methods.iter().map(move |method| (&of.id, of.label, method)));
            let rows = table.rows::<ImageRow>().unwrap_or_default();
            rows.iter().map(|row| (&row.image, row.label, &row.method)).eq(expected)
        };
        let form = Form { header: rows::header(), reread: &rows::reread, is_whole: &has_all };
        let images = BatchLog::open(&folder.file(PER_IMAGE), form)?;
        let own =
            settings.suites.iter().filter_map(|&suite| Some((suite, suite.definition().log()?)));
        let open = |(suite, Log { file, columns, is_whole })| {
            let form = Form {
                header: (columns.names)(),
                reread: &columns.reread,
                is_whole: &|_, table| is_whole(table, methods),
            };
            Ok((suite, BatchLog::open(&folder.file(file), form)?))
        };
        let suites = own.map(open).collect::<Result<Vec<_>>>()?;
        let mut logs = Self { images, suites };
        let whole = logs.suites.iter().map(|(_, log)| log.batches()).min();
        let whole = logs.images.batches().min(whole.unwrap_or(usize::MAX));
        logs.images.truncate(whole)?;
        logs.suites.iter_mut().try_for_each(|(_, log)| log.truncate(whole))?;
        Ok(logs)
    }

    /// Number of batches so far.
    pub fn batches(&self) -> usize {
        self.images.batches()
    }

    /// Appends the next batch.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn append(&mut self, measured: Measured) -> Result<()> {
        self.images.append(measured.images)?;
        self.suites
            .iter_mut()
            .zip(measured.suites)
            .try_for_each(|((_, log), rows)| log.append(rows))
    }

    /// Puts what was measured again in the place of batches, by their numbers.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn replace(&mut self, mended: Vec<(usize, Measured)>) -> Result<()> {
        let mut images = Vec::with_capacity(mended.len());
        let mut suites = vec![Vec::with_capacity(mended.len()); self.suites.len()];
        for (number, measured) in mended {
            images.push((number, measured.images));
            for (batches, rows) in suites.iter_mut().zip(measured.suites) {
                batches.push((number, rows));
            }
        }
        // The faults stand in `per_image.csv`: while they do, the rest will be measured once more.
        self.suites.iter_mut().zip(suites).try_for_each(|((_, log), rows)| log.replace(rows))?;
        self.images.replace(images)
    }

    /// `per_image.csv`.
    pub fn images(&self) -> Table<'_> {
        self.images.table()
    }

    /// The files of the suites that have one.
    pub fn suites(&self) -> Vec<(Suite, Table<'_>)> {
        self.suites.iter().map(|(suite, log)| (*suite, log.table())).collect()
    }
}

/// Which images of `dataset` batch `number` is made of.
pub fn members(number: usize, settings: &Settings, dataset: &Dataset) -> Range<usize> {
    let first = number * settings.batch_size;
    first..(first + settings.batch_size).min(dataset.records.len())
}
