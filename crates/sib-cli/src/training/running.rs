//! The training loop: batches to updates, updates to logs and checkpoints.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use sib_core::checkpoint::{CheckpointMeta, read_checkpoint, read_tensors, write_tensors};
use sib_core::data::loader::Epoch;
use sib_core::data::{Batch, Loader, soft_targets};
use sib_core::train::{Measurements, TrainConfig, Trainer};
use sib_models::Model;
use tch::Tensor;

use super::best::Best;
use super::{Session, held_out};
use crate::error::with_hint;
use crate::note;
use crate::progress::{Progress, duration};
use crate::run_dir::{MetricsLog, RunDir, Status, read_metrics};

/// A run in progress.
pub(super) struct Running<'s> {
    session: &'s Session<'s>,
    run: &'s RunDir,
    trainer: Trainer<'s>,
    log: MetricsLog,
    progress: Progress,
    best: Option<Best>,
    /// Updates that earlier processes made.
    resumed_at: u64,
    started: Instant,
    saved: Instant,
}

/// Why the loop was left.
enum End {
    AllEpochs,
    Early,
    TimeLimit,
}

/// `failure.toml`: the update that could not be made.
#[derive(Serialize)]
struct Failure<'a> {
    step: u64,
    epoch: u64,
    problem: String,
    /// Ids of the images of the update, as far as it came.
    images: &'a [String],
}

impl<'s> Running<'s> {
    /// At the beginning, or where the run in the folder `run` was interrupted.
    pub(super) fn start(session: &'s Session<'s>, run: &'s RunDir) -> Result<Self> {
        let started = Instant::now();
        let config = session.config;
        let mut trainer = Trainer::new(
            session.model.backbone(),
            session.model.state_dict(),
            config.train.clone(),
            config.sib.clone(),
            session.steps_per_epoch(),
        );
        let best = resume(run, session, &mut trainer)?;
        let log = run.metrics_log(trainer.steps(), config.train.tensorboard)?;
        let total = config.train.epochs * session.steps_per_epoch();
        let progress = Progress::new("train", total, trainer.steps(), "steps");
        let resumed_at = trainer.steps();
        Ok(Self { session, run, trainer, log, progress, best, resumed_at, started, saved: started })
    }

    fn config(&self) -> &'s TrainConfig {
        &self.session.config.train
    }

    /// Runs until it ends for one of the reasons there are, and says which.
    pub(super) fn run(mut self) -> Result<()> {
        let end = loop {
            let (steps, per_epoch) = (self.trainer.steps(), self.session.steps_per_epoch());
            if steps >= self.config().epochs * per_epoch {
                break End::AllEpochs;
            } else if Best::ends(self.best, self.config(), steps / per_epoch) {
                break End::Early;
            } else if self.is_out_of_time() && steps > self.resumed_at {
                break End::TimeLimit;
            }
            self.epoch(steps / per_epoch, steps % per_epoch)?;
        };
        self.progress.finish();
        self.report(&end)
    }

    fn is_out_of_time(&self) -> bool {
        let hours = self.started.elapsed().as_secs_f64() / 3600.0;
        self.config().max_hours.is_some_and(|most| hours > most)
    }

    /// Trains through `epoch` from its update number `first` on, then evaluates and saves; where
    /// time runs out on the way, it only saves.
    fn epoch(&mut self, epoch: u64, first: u64) -> Result<()> {
        let (config, per_epoch) = (self.config(), self.session.steps_per_epoch());
        let save_every = Duration::from_secs_f64(config.checkpoint_every_minutes * 60.0);
        let mut batches =
            self.session.train.epoch(epoch, (first * config.accumulate_batches) as usize);
        for place in first..per_epoch {
            let measured = self.update(epoch, &mut batches)?;
            let step = self.trainer.steps();
            if step.is_multiple_of(config.log_every_steps) {
                for &(name, value) in &measured {
                    self.log.push(step, epoch, "train", name, value)?;
                }
            }
            self.show(epoch, &measured);
            // After the last one, the epoch is evaluated before it is saved.
            if place + 1 < per_epoch {
                let out_of_time = self.is_out_of_time();
                if out_of_time || self.saved.elapsed() > save_every {
                    self.save()?;
                }
                if out_of_time {
                    return Ok(());
                }
            }
        }
        let epochs = epoch + 1;
        if epochs == config.epochs || epochs.is_multiple_of(config.evaluate_every_epochs) {
            self.evaluate(epoch)?;
        }
        self.save()
    }

    /// The next update of `epoch`, of the next of its `batches`.
    fn update(&mut self, epoch: u64, batches: &mut Epoch) -> Result<Measurements> {
        let (step, accumulate) = (self.trainer.steps(), self.config().accumulate_batches);
        let mut ids = Vec::new();
        let mut update = || -> Result<Measurements> {
            for place in 0..accumulate {
                let batch =
                    batches.next().context("the epoch has fewer batches than it said")??;
                ids.extend(batch.ids.iter().cloned());
                let batch = batch.to(self.session.device);
                let (images, targets) = self.mixed(&batch, epoch, step * accumulate + place)?;
                self.trainer.backward(&images, &targets)?;
            }
            Ok(self.trainer.update()?)
        };
        match update() {
            Err(error)
                if matches!(error.downcast_ref(), Some(sib_core::Error::NonFinite { .. })) =>
            {
                let failure = Failure { step, epoch, problem: error.to_string(), images: &ids };
                self.run.write(FAILURE, &toml::to_string_pretty(&failure)?)?;
                let file = self.run.path().join(FAILURE);
                let error = error.context(format!("{}: names the images", file.display()));
                Err(with_hint(error, DIVERGED))
            }
            other => other,
        }
    }

    /// Images and targets of `batch`, number `number` of the run, as `data.mix` has them.
    fn mixed(&self, batch: &Batch, epoch: u64, number: u64) -> Result<(Tensor, Tensor)> {
        let Session { config, model, .. } = self.session;
        let Some(mix) = config.data.mix else {
            return Ok((batch.images.shallow_clone(), batch.labels.shallow_clone()));
        };
        // Label smoothing is part of the loss.
        let targets = soft_targets(&batch.labels, model.num_classes(), 0.0)?;
        Ok(mix.apply(&batch.images, &targets, config.train.seed, epoch, number)?)
    }

    fn show(&mut self, epoch: u64, measured: &Measurements) {
        let config = self.config();
        let images_an_update = config.batch_size as u64 * config.accumulate_batches;
        let images_per_s = self.progress.rate() * images_an_update as f64;
        self.progress.step(|| {
            let shown = measured.iter().filter(|(name, _)| SHOWN.contains(name));
            let terms: Vec<_> = shown.map(|(name, v)| format!("{name} {}", short(*v))).collect();
            format!("{images_per_s:.0} images/s  epoch {}  {}", epoch + 1, terms.join("  "))
        });
    }

    /// Logs the metrics of the splits that training does not see, and saves the network where it is the
    /// best so far.
    fn evaluate(&mut self, epoch: u64) -> Result<()> {
        let config = &self.session.config.train;
        let model = self.evaluated()?;
        for images in &self.session.held_out {
            let split = images.dataset().split;
            let metrics = self.measure(model, images).map_err(|error| self.diverged(error))?;
            let shown: Vec<String> =
                metrics.iter().filter_map(|(name, value)| in_words(name, *value)).collect();
            self.progress.println(&format!(
                "epoch {}/{}: {split} {}",
                epoch + 1,
                config.epochs,
                shown.join(", ")
            ));
            for (name, value) in &metrics {
                self.log.push(self.trainer.steps(), epoch, split.as_str(), name, *value)?;
            }
            if split == self.session.chosen_on() {
                let of_interest = metrics.iter().find(|(name, _)| *name == config.best_metric);
                let value = of_interest.context("train.best_metric was not measured")?.1;
                self.keep_if_best(model, epoch, value)?;
            }
        }
        Ok(())
    }

    /// All metrics of `model` on `images`.
    fn measure(&self, model: &Model, images: &Loader) -> Result<Vec<(String, f64)>> {
        let Session { config, device, .. } = self.session;
        let mut metrics = held_out::accuracy(model, images, *device)?;
        if config.train.log_information {
            let sib = config.sib.clone().unwrap_or_default();
            metrics.extend(held_out::information(model, images, *device, &sib)?);
        }
        Ok(metrics)
    }

    fn keep_if_best(&mut self, model: &Model, epoch: u64, value: f64) -> Result<()> {
        let is_better = |best: Best| self.config().best_value.is_better(value, best.value);
        if self.best.is_none_or(is_better) {
            self.best = Some(Best { value, epochs: epoch + 1 });
            let mut meta = self.meta()?;
            meta.extra.insert(CHOSEN_ON_KEY.to_owned(), self.session.chosen_on().to_string());
            model.save(&self.run.checkpoint(BEST), &meta)?;
        }
        Ok(())
    }

    /// The network that is evaluated: the moving average, where one is kept.
    fn evaluated(&self) -> Result<&'s Model> {
        let (Some(model), Some(average)) = (&self.session.averaged, self.trainer.average()) else {
            return Ok(&self.session.model);
        };
        model.load_state_dict(average, Path::new("the moving average"))?;
        Ok(model)
    }

    /// An error of an evaluation, with where training stood if what is wrong is the network.
    fn diverged(&self, error: anyhow::Error) -> anyhow::Error {
        if !matches!(error.downcast_ref(), Some(sib_core::Error::NonFinite { .. })) {
            return error;
        }
        let run = self.run.path().display();
        let step = self.trainer.steps();
        with_hint(error.context(format!("{run}: training diverged by step {step}")), DIVERGED)
    }

    fn meta(&self) -> Result<CheckpointMeta> {
        let Session { config, model, train, .. } = self.session;
        Ok(CheckpointMeta {
            arch: model.arch().name().to_owned(),
            classes: train.dataset().classes.clone(),
            preprocessing: config.data.preprocessing.clone(),
            config: config.to_toml()?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extra: BTreeMap::from([("steps".to_owned(), self.trainer.steps().to_string())]),
        })
    }

    /// Saves `last`. The trainer's state is written first and named by the checkpoint, so that
    /// there is a matching pair on the disk at any time.
    fn save(&mut self) -> Result<()> {
        self.log.flush()?;
        let last = self.run.checkpoint(LAST);
        let previous = state_file_of(&last);
        let state = format!("state-{}.safetensors", self.trainer.steps());
        let (tensors, mut text) = self.trainer.state();
        text.extend(self.best.iter().flat_map(Best::state));
        write_tensors(&self.run.checkpoint(&state), &tensors, &text)?;
        let mut meta = self.meta()?;
        meta.extra.insert(STATE_KEY.to_owned(), state.clone());
        meta.extra.insert(PER_EPOCH_KEY.to_owned(), self.session.steps_per_epoch().to_string());
        meta.extra.insert(IMAGES_KEY.to_owned(), self.session.images_sha256.clone());
        self.session.model.save(&last, &meta)?;
        if let Some(previous) = previous.filter(|previous| *previous != state) {
            // A state file that is left over does no harm.
            let _ = std::fs::remove_file(self.run.checkpoint(&previous));
        }
        self.saved = Instant::now();
        Ok(())
    }

    /// Says why the run ended, and writes `status.toml` where nothing is left to do.
    fn report(self, end: &End) -> Result<()> {
        let (steps, path) = (self.trainer.steps(), self.run.path().display());
        let seconds = self.started.elapsed().as_secs_f64();
        let state = match end {
            End::TimeLimit => {
                note!("{path}: train.max_hours reached after step {steps}, all is saved");
                note!("hint: sib-cli train --resume {path}");
                return Ok(());
            }
            End::Early => {
                let Best { value, epochs } = self.best.context("nothing was evaluated")?;
                let metric = &self.config().best_metric;
                note!("{path}: stopped early: {metric} was best after epoch {epochs}: {value}");
                "stopped early"
            }
            End::AllEpochs => "finished",
        };
        let rows = read_metrics(&self.run.metrics())?;
        let test = rows.into_iter().filter(|row| row.split == "test");
        let status = Status {
            state: state.to_owned(),
            epochs: steps / self.session.steps_per_epoch(),
            steps,
            seconds,
            test: test.map(|row| (row.name, row.value)).collect(),
        };
        self.run.write("status.toml", &toml::to_string_pretty(&status)?)?;
        note!("{path}: {steps} steps in {}", duration(seconds));
        Ok(())
    }
}

/// Restores `last`, where there is one; returns the best evaluation so far.
fn resume(run: &RunDir, session: &Session<'_>, trainer: &mut Trainer<'_>) -> Result<Option<Best>> {
    let last = run.checkpoint(LAST);
    if !last.exists() {
        return Ok(None);
    }
    let (weights, meta) = read_checkpoint(&last)?;
    let Some(state) = meta.extra.get(STATE_KEY) else {
        bail!("{}: names no training state to go on from", last.display());
    };
    let per_epoch = session.steps_per_epoch().to_string();
    match meta.extra.get(PER_EPOCH_KEY) {
        Some(before) if *before != per_epoch => bail!(
            "{}: an epoch had {before} updates when the run was saved, now it has {per_epoch}: the \
             data or the batch size have changed",
            run.path().display()
        ),
        _ => {}
    }
    if meta.extra.get(IMAGES_KEY).is_some_and(|before| *before != session.images_sha256) {
        bail!(
            "{}: its training images or their labels are not those that the run was begun with",
            session.config.data.root()?.display()
        );
    }
    let report = session.model.load_state_dict(&weights, &last)?;
    if !report.is_exact() {
        bail!("{}: does not fit the run's network: {report}", last.display());
    }
    let state = run.checkpoint(state);
    let (tensors, text) = read_tensors(&state)?;
    trainer
        .restore(&tensors, &text)
        .with_context(|| format!("{}: cannot go on from here", state.display()))?;
    note!("{}: going on after step {}", run.path().display(), trainer.steps());
    Ok(Best::from_state(&text))
}

pub(super) const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";
const FAILURE: &str = "failure.toml";
const STATE_KEY: &str = "state";
const PER_EPOCH_KEY: &str = "steps_per_epoch";
const IMAGES_KEY: &str = "images_sha256";
const CHOSEN_ON_KEY: &str = "chosen_on";

/// Name of the trainer's state that belongs to the checkpoint at `last`, where there is one.
fn state_file_of(last: &Path) -> Option<String> {
    sib_core::checkpoint::read_meta(last).ok()?.extra.remove(STATE_KEY)
}

/// What to do about a loss or a network that is not finite.
const DIVERGED: &str = "a lower train.optimizer.learning_rate, train.schedule.warmup_epochs or \
                        train.clip_norm keeps training finite; with S-IB, lower weights of its terms too";

/// A metric as a person reads it; none of those for charts.
fn in_words(name: &str, value: f64) -> Option<String> {
    match name {
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
