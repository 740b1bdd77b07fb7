//! The folder of a training run: everything that was set, measured and saved.
//!
//! ```text
//! config.toml        resolved configuration; runs again unchanged
//! environment.toml   versions, device, threads
//! metrics.csv        step, epoch, split, name, value
//! checkpoints/       last.safetensors, best.safetensors, state of the trainer
//! tensorboard/       the same metrics as an event file
//! failure.toml       where a loss was not finite: the step, the terms, the images
//! status.toml        written last: what the run ended with
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sib_core::Error;
use sib_core::checkpoint::write_atomic;

use crate::csv_rows;
use crate::error::with_hint;
use crate::folder_lock::FolderLock;
use crate::training::tensorboard::EventFile;

/// A run's folder, held by this process alone.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    _lock: FolderLock,
}

/// What a run ended with; its presence means that it has ended.
const STATUS: &str = "status.toml";

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

/// What a finished run ended with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// `finished` or `stopped early`.
    pub state: String,
    /// Epochs trained.
    pub epochs: u64,
    /// Updates made.
    pub steps: u64,
    /// Wall-clock seconds of the last process of this run.
    pub seconds: f64,
    /// Last value of each metric of the test split.
    pub test: BTreeMap<String, f64>,
}

impl RunDir {
    /// A new folder at `path`, which must not exist or be empty.
    ///
    /// # Errors
    /// When it holds something, or cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let holds_something = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if holds_something {
            let error = anyhow::anyhow!("{}: the run folder is not empty", path.display());
            let hint = format!(
                "give another --output, or go on with the run: --resume {}",
                path.display()
            );
            return Err(with_hint(error, hint));
        }
        fs::create_dir_all(path.join("checkpoints")).map_err(Error::io("create", path))?;
        Self::hold(path)
    }

    /// The folder of a run that was interrupted.
    ///
    /// # Errors
    /// When it is no run folder, or another process holds it.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.join("config.toml").is_file() {
            bail!("{}: not a run folder: it has no config.toml", path.display());
        }
        Self::hold(path)
    }

    fn hold(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), _lock: FolderLock::hold(path)? })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `metrics.csv`.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    /// A file of the checkpoints folder.
    pub fn checkpoint(&self, name: &str) -> PathBuf {
        self.path.join("checkpoints").join(name)
    }

    /// Writes a text file of the folder atomically.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(write_atomic(&self.path.join(name), |file| file.write_all(text.as_bytes()))?)
    }

    /// What the run ended with; none while it has not ended.
    ///
    /// # Errors
    /// When `status.toml` cannot be read or is damaged.
    pub fn status(&self) -> Result<Option<Status>> {
        let path = self.path.join(STATUS);
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Says that the run has not ended.
    ///
    /// # Errors
    /// When `status.toml` is there and cannot be removed.
    pub fn remove_status(&self) -> Result<()> {
        let path = self.path.join(STATUS);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", &path)(error).into())
            }
            _ => Ok(()),
        }
    }

    /// Opens `metrics.csv` to append to, and with `tensorboard` an event file that says the same,
    /// keeping the rows up to `steps` updates: what an interrupted run logged after its last
    /// checkpoint is measured again.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn metrics_log(&self, steps: u64, tensorboard: bool) -> Result<MetricsLog> {
        let path = self.metrics();
        let mut kept = read_metrics(&path)?;
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
        let mut events = tensorboard.then(|| EventFile::create(&self.path)).transpose()?;
        if let Some(events) = &mut events {
            kept.iter().try_for_each(|row| events.scalar(row.step, &row.tag(), row.value))?;
        }
        Ok(MetricsLog { writer, path, events })
    }
}

/// The rows of a `metrics.csv`; none where there is no file.
///
/// # Errors
/// When it cannot be read, or a line of it is damaged.
pub fn read_metrics(path: &Path) -> Result<Vec<MetricRow>> {
    if path.exists() { csv_rows::read(path) } else { Ok(Vec::new()) }
}

/// Appends to `metrics.csv`, and to the event file where there is one.
#[derive(Debug)]
pub struct MetricsLog {
    writer: csv::Writer<BufWriter<File>>,
    path: PathBuf,
    events: Option<EventFile>,
}

impl MetricsLog {
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

    /// Hands everything to the operating system.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        if let Some(events) = &mut self.events {
            events.flush()?;
        }
        Ok(self.writer.flush().map_err(Error::io("write", &self.path))?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn resuming_drops_what_was_logged_after_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        {
            let run = RunDir::create(&path).unwrap();
            let mut log = run.metrics_log(0, true).unwrap();
            for step in 1..=4 {
                log.push(step, 0, "train", "loss", 1.0 / step as f64).unwrap();
            }
            log.flush().unwrap();
            run.write("config.toml", "").unwrap();
        }
        // The end of a line that a kill cut off.
        fs::OpenOptions::new()
            .append(true)
            .open(path.join("metrics.csv"))
            .and_then(|mut file| file.write_all(b"5,0,tr"))
            .unwrap();
        let run = RunDir::open(&path).unwrap();
        let mut log = run.metrics_log(3, true).unwrap();
        log.push(4, 0, "train", "loss", 9.0).unwrap();
        log.flush().unwrap();
        let values: Vec<f64> =
            read_metrics(&run.metrics()).unwrap().iter().map(|row| row.value).collect();
        assert_eq!(values, [1.0, 0.5, 1.0 / 3.0, 9.0]);
    }

    #[test]
    fn a_folder_belongs_to_one_process_and_one_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let run = RunDir::create(&path).unwrap();
        run.write("config.toml", "").unwrap();
        let busy = RunDir::open(&path).unwrap_err().to_string();
        assert!(busy.contains("another process"), "{busy}");
        drop(run);
        let error = RunDir::create(&path).unwrap_err();
        assert!(format!("{error:#}").contains("not empty"), "{error:#}");
    }
}
