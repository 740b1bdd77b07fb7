//! The files that grow batch by batch, kept in step with one another.

use anyhow::Result;
use sib_core::data::Dataset;

use super::batch_log::BatchLog;
use super::curves::{CurveSums, PATHS};
use super::folder::{CURVE_SUMS, EvaluationDir, INFORMATION, PER_IMAGE};
use super::information::InformationRow;
use super::pass::Measured;
use super::record::ImageRow;
use super::settings::{Settings, Suite};

/// One log a kind of row; those of suites that are not measured have no file.
#[derive(Debug)]
pub struct Logs {
    images: BatchLog<ImageRow>,
    curves: Option<BatchLog<CurveSums>>,
    information: Option<BatchLog<InformationRow>>,
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
        let images = BatchLog::open(&folder.file(PER_IMAGE), |number, rows: &[ImageRow]| {
            let ids = members(number, settings, dataset).map(|index| &dataset.records[index].id);
            let expected = ids.flat_map(|id| methods.iter().map(move |method| (id, method)));
            rows.iter().map(|row| (&row.image, &row.method)).eq(expected)
        })?;
        let open_curves = || {
            BatchLog::open(&folder.file(CURVE_SUMS), |_, rows: &[CurveSums]| {
                let expected =
                    methods.iter().flat_map(|method| PATHS.map(|path| (method.as_str(), path)));
                rows.iter().map(|row| (row.method.as_str(), row.path.as_str())).eq(expected)
            })
        };
        let open_information = || {
            BatchLog::open(&folder.file(INFORMATION), |_, rows: &[InformationRow]| rows.len() == 1)
        };
        let mut logs = Self {
            images,
            curves: settings.has(Suite::Faithfulness).then(open_curves).transpose()?,
            information: settings.has(Suite::Information).then(open_information).transpose()?,
        };
        let whole = [
            Some(logs.images.batches()),
            logs.curves.as_ref().map(BatchLog::batches),
            logs.information.as_ref().map(BatchLog::batches),
        ];
        let whole = whole.into_iter().flatten().min().unwrap_or_default();
        logs.images.truncate(whole)?;
        logs.curves.iter_mut().try_for_each(|log| log.truncate(whole))?;
        logs.information.iter_mut().try_for_each(|log| log.truncate(whole))?;
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
        if let Some(log) = &mut self.curves {
            log.append(measured.curves)?;
        }
        if let Some(log) = &mut self.information {
            log.append(measured.information)?;
        }
        Ok(())
    }

    /// Puts what was measured again in the place of batches, by their numbers.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn replace(&mut self, mended: Vec<(usize, Measured)>) -> Result<()> {
        let (mut images, mut curves, mut information) = (Vec::new(), Vec::new(), Vec::new());
        for (number, measured) in mended {
            images.push((number, measured.images));
            curves.push((number, measured.curves));
            information.push((number, measured.information));
        }
        // The faults stand in the first log: while they do, the rest will be measured once more.
        if let Some(log) = &mut self.curves {
            log.replace(curves)?;
        }
        if let Some(log) = &mut self.information {
            log.replace(information)?;
        }
        self.images.replace(images)
    }

    /// Rows of `per_image.csv`.
    pub fn images(&self) -> &[ImageRow] {
        self.images.rows()
    }

    /// Rows of `curve_sums.csv`, where there is one.
    pub fn curves(&self) -> Option<&[CurveSums]> {
        self.curves.as_ref().map(BatchLog::rows)
    }

    /// Rows of `information.csv`; none where there is no such file.
    pub fn information(&self) -> &[InformationRow] {
        self.information.as_ref().map_or(&[], BatchLog::rows)
    }
}

/// Which images of `dataset` batch `number` is made of.
pub fn members(number: usize, settings: &Settings, dataset: &Dataset) -> std::ops::Range<usize> {
    let first = number * settings.batch_size;
    first..(first + settings.batch_size).min(dataset.records.len())
}
