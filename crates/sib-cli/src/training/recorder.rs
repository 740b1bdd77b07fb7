//! What a run says and keeps of its training: progress, metrics, checkpoints, and how it ended.

use std::time::{Duration, Instant};

use anyhow::Result;
use sib_core::train::{Best, End, Fit, Length, Measurements, Metric, Observer, Position, State};

use super::setup::Setup;
use super::{checkpoints, divergence};
use crate::failpoint;
use crate::note;
use crate::output::count;
use crate::processes::Signals;
use crate::progress::{Progress, duration};
use crate::run::{Failure, MetricsLog, RunDir, Status, read_metrics};

/// Keeps a run's folder, and tells those who watch.
pub(super) struct Recorder<'s> {
    setup: &'s Setup<'s>,
    run: &'s RunDir,
    length: Length,
    log: MetricsLog,
    progress: Progress,
    started: Instant,
    saved: Instant,
    /// What earlier processes of the run took.
    seconds_before: f64,
    /// What the progress line says of the last update that was looked at.
    shown: Vec<(&'static str, f64)>,
    signals: Signals,
}

impl<'s> Recorder<'s> {
    /// Of the training `fit`, of which earlier processes did what is done in `seconds_before`.
    pub(super) fn new(
        setup: &'s Setup<'s>,
        run: &'s RunDir,
        fit: &Fit<'_>,
        seconds_before: f64,
        signals: Signals,
    ) -> Result<Self> {
        let (started, length) = (Instant::now(), fit.length());
        let tensorboard = setup.config.train.tensorboard;
        let log = MetricsLog::open(run.path(), fit.steps(), tensorboard)?;
        let progress = Progress::new("train", length.steps(), fit.steps(), "steps");
        let (saved, shown) = (started, Vec::new());
        Ok(Self {
            setup,
            run,
            length,
            log,
            progress,
            started,
            saved,
            seconds_before,
            shown,
            signals,
        })
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    /// Says why the run ended after `steps` updates, and writes `status.toml` where nothing is left to do.
    pub(super) fn finish(mut self, end: End, steps: u64) -> Result<()> {
        self.progress.finish();
        // A run that went on with nothing left to do has written its event file anew and saved nothing.
        self.log.flush()?;
        let path = self.run.path().display();
        let state = match end {
            End::TimeLimit | End::Asked => {
                let why = match end {
                    End::Asked => "told to end",
                    _ => "train.max_hours reached",
                };
                note!("{path}: {why} after step {steps}, all is saved");
                note!("hint: sib-cli train --resume {path}");
                return Ok(());
            }
            End::Early(Best { value, epochs }) => {
                let metric = &self.setup.config.train.best_metric;
                note!("{path}: stopped early: {metric} was best after epoch {epochs}: {value}");
                "stopped early"
            }
            End::AllEpochs => "finished",
        };
        let rows = read_metrics(self.run.path())?;
        let test = rows.into_iter().filter(|row| row.split == "test");
        let status = Status {
            state: state.to_owned(),
            epochs: steps / self.length.steps_per_epoch,
            steps,
            seconds: self.seconds(),
            test: test.map(|row| (row.name, row.value)).collect(),
        };
        status.write(self.run)?;
        failpoint::passed("status");
        note!("{path}: {} in {}", count(steps, "step"), duration(status.seconds));
        Ok(())
    }
}

impl Observer for Recorder<'_> {
    type Error = anyhow::Error;

    fn wants_measurements(&self, at: Position) -> bool {
        at.step.is_multiple_of(self.setup.config.train.log_every_steps)
    }

    fn updated(&mut self, at: Position, measured: &Measurements) -> Result<()> {
        let config = &self.setup.config.train;
        let is_logged = self.wants_measurements(at);
        if is_logged || measured.are_at_hand() {
            let measured = measured.read();
            for &(name, value) in measured.iter().filter(|_| is_logged) {
                self.log.push(at.step, at.epoch, "train", name, value)?;
            }
            self.shown = measured.into_iter().filter(|(name, _)| SHOWN.contains(name)).collect();
        }
        let images_an_update = config.batch_size as u64 * config.accumulate_batches;
        let images_per_s = self.progress.rate() * images_an_update as f64;
        let shown = &self.shown;
        self.progress.step(|| {
            let terms: Vec<_> =
                shown.iter().map(|(name, v)| format!("{name} {}", short(*v))).collect();
            format!("{images_per_s:.0} images/s  epoch {}  {}", at.epoch + 1, terms.join("  "))
        });
        Ok(())
    }

    fn failed(&mut self, at: Position, ids: &[String], error: sib_core::Error) -> anyhow::Error {
        if !divergence::is_one(&error) {
            return error.into();
        }
        let Position { step, epoch } = at;
        let failure = Failure { step, epoch, problem: error.to_string(), images: ids };
        match failure.write(self.run) {
            Ok(file) => divergence::of_update(error, &file),
            Err(problem) => problem,
        }
    }

    fn evaluated(&mut self, at: Position, metrics: &[Metric]) -> Result<()> {
        for metrics in metrics.chunk_by(|a, b| a.split == b.split) {
            let shown: Vec<String> = metrics.iter().filter_map(in_words).collect();
            self.progress.println(&format!(
                "epoch {}/{}: {} {}",
                at.epoch + 1,
                self.length.epochs,
                metrics[0].split,
                shown.join(", ")
            ));
        }
        metrics.iter().try_for_each(|Metric { split, name, value }| {
            self.log.push(at.step, at.epoch, split.as_str(), name, *value)
        })
    }

    fn best(&mut self, at: Position, _: Best) -> Result<()> {
        checkpoints::save_best(self.run, self.setup, at)
    }

    fn wants_to_save(&self) -> bool {
        let minutes = self.setup.config.train.checkpoint_every_minutes;
        self.saved.elapsed() > Duration::from_secs_f64(minutes * 60.0)
    }

    fn wants_to_end(&self) -> bool {
        self.signals.have_come()
    }

    fn save(&mut self, at: Position, state: State) -> Result<()> {
        self.log.flush()?;
        failpoint::passed("metrics");
        let (per_epoch, seconds) = (self.length.steps_per_epoch, self.seconds());
        checkpoints::save_last(self.run, self.setup, at, per_epoch, state, seconds)?;
        self.saved = Instant::now();
        Ok(())
    }
}

/// A metric as a person reads it; none of those for charts.
fn in_words(Metric { name, value, .. }: &Metric) -> Option<String> {
    match &**name {
        "top1" => Some(format!("top-1 {value:.2} %")),
        "top5" => Some(format!("top-5 {value:.2} %")),
        "loss" => Some(format!("loss {value:.4}")),
        _ => None,
    }
}

/// What the progress line shows of an update.
const SHOWN: [&str; 5] = ["loss", "top1", "cross_entropy", "foreground", "background"];

/// Four significant digits, at any magnitude.
fn short(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:.3e}") } else { format!("{value:.4}") }
}
