//! What a run measured: `metrics.csv`, and the event file that says the same.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sib_core::Error;
use sib_core::checkpoint::write_atomic;

use super::tensorboard::EventFile;
use crate::csv_rows;

const FILE: &str = "metrics.csv";

/// One measured value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// Updates made when it was measured.
    pub step: u64,
    /// Epoch, counted from 0.
    pub epoch: u64,
    /// `train`, `val` or `test`.
    pub split: String,
    /// What was measured.
    pub name: String,
    /// Its value.
    pub value: f64,
}

impl MetricRow {
    /// The metric's name in TensorBoard.
    fn tag(&self) -> String {
        format!("{}/{}", self.split, self.name)
    }
}

/// The metrics of the run in `folder`; none where it has measured nothing.
///
/// # Errors
/// When they cannot be read, or a line of them is damaged.
pub fn read_metrics(folder: &Path) -> Result<Vec<MetricRow>> {
    let path = folder.join(FILE);
    if path.exists() { csv_rows::read(&path) } else { Ok(Vec::new()) }
}

/// Appends to `metrics.csv`, and to the event file where there is one.
#[derive(Debug)]
pub struct MetricsLog {
    writer: csv::Writer<BufWriter<File>>,
    path: PathBuf,
    events: Option<EventFile>,
}

impl MetricsLog {
    /// The log of the run in `folder`, with `tensorboard` an event file too. Rows up to `steps` updates are
    /// kept: what an interrupted run logged after its last checkpoint is measured again.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(folder: &Path, steps: u64, tensorboard: bool) -> Result<Self> {
        let path = folder.join(FILE);
        let mut kept = read_metrics(folder)?;
        kept.retain(|row| row.step <= steps);
        write_atomic(&path, |file| {
            let mut writer = csv::Writer::from_writer(file);
            if kept.is_empty() {
                writer.write_record(["step", "epoch", "split", "name", "value"])?;
            }
            kept.iter().try_for_each(|row| writer.serialize(row))?;
            writer.flush()
        })?;
        let file = File::options().append(true).open(&path).map_err(Error::io("write", &path))?;
        let writer = csv::WriterBuilder::new().has_headers(false).from_writer(BufWriter::new(file));
        let mut events = tensorboard.then(|| EventFile::create(folder)).transpose()?;
        if let Some(events) = &mut events {
            kept.iter().try_for_each(|row| events.scalar(row.step, &row.tag(), row.value))?;
        }
        Ok(Self { writer, path, events })
    }

    /// One row.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn push(
        &mut self,
        step: u64,
        epoch: u64,
        split: &str,
        name: &str,
        value: f64,
    ) -> Result<()> {
        let row = MetricRow { step, epoch, split: split.to_owned(), name: name.to_owned(), value };
        if let Some(events) = &mut self.events {
            events.scalar(step, &row.tag(), value)?;
        }
        self.writer.serialize(row).with_context(|| format!("{}: cannot write", self.path.display()))
    }

    /// Hands everything to the disk: rows up to a checkpoint are never measured again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        if let Some(events) = &mut self.events {
            events.flush()?;
        }
        let written =
            self.writer.flush().and_then(|()| self.writer.get_ref().get_ref().sync_data());
        Ok(written.map_err(Error::io("write", &self.path))?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn going_on_drops_what_was_logged_after_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut log = MetricsLog::open(folder, 0, true).unwrap();
        for step in 1..=4 {
            log.push(step, 0, "train", "loss", 1.0 / step as f64).unwrap();
        }
        log.flush().unwrap();
        // The end of a line that a kill cut off.
        File::options()
            .append(true)
            .open(folder.join(FILE))
            .and_then(|mut file| file.write_all(b"5,0,tr"))
            .unwrap();
        let mut log = MetricsLog::open(folder, 3, true).unwrap();
        log.push(4, 0, "train", "loss", 9.0).unwrap();
        log.flush().unwrap();
        let values: Vec<f64> = read_metrics(folder).unwrap().iter().map(|row| row.value).collect();
        assert_eq!(values, [1.0, 0.5, 1.0 / 3.0, 9.0]);
    }
}
