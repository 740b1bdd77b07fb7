//! `sib-cli train`: the training loop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use sib_core::checkpoint::{CheckpointMeta, read_checkpoint, read_tensors, write_tensors};
use sib_core::data::{self, Loader, LoaderOptions, Split};
use sib_core::information::RegionInformation;
use sib_core::objective::SibConfig;
use sib_core::train::Trainer;
use sib_core::{Mode, device};
use sib_metrics::accuracy::top_k_hits;
use sib_models::Model;
use tch::Device;

use crate::config::{Config, evaluation_transform};
use crate::environment::Environment;
use crate::error::usage;
use crate::progress::{Progress, duration};
use crate::run_dir::{MetricsLog, RunDir, Status, read_metrics};

/// Arguments of `train`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Configuration of the run, TOML
    #[arg(long, value_name = "FILE", required_unless_present = "resume")]
    config: Option<PathBuf>,
    /// Change a setting of the configuration, as train.epochs=10; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
    /// Folder of the run [default: runs/ and the configuration's name]
    #[arg(long, value_name = "RUN")]
    output: Option<PathBuf>,
    /// Go on with an interrupted run
    #[arg(long, value_name = "RUN", conflicts_with_all = ["config", "assignments", "output"])]
    resume: Option<PathBuf>,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// Trains from the start, or goes on where a run was interrupted.
pub fn run(arguments: &Arguments) -> Result<()> {
    let device = device::parse(&arguments.device)?;
    match (&arguments.resume, &arguments.config) {
        (Some(path), _) => {
            let config = Config::load(&path.join("config.toml"), &[])
                .with_context(|| format!("{}: cannot be resumed", path.display()))?;
            let session = Session::prepare(&config, device)?;
            session.train(&RunDir::open(path)?)
        }
        (None, Some(file)) => {
            let config = Config::load(file, &arguments.assignments)?;
            let path = arguments.output.clone().unwrap_or_else(|| default_output(file));
            // Everything that can fail on bad input fails before the folder is made.
            let session = Session::prepare(&config, device)?;
            let run = RunDir::create(&path)?;
            run.write("config.toml", &config.to_toml()?)?;
            run.write("environment.toml", &Environment::of(device).to_toml()?)?;
            session.train(&run)
        }
        (None, None) => Err(usage("--config: not given, expected a file")),
    }
}

fn default_output(config: &Path) -> PathBuf {
    Path::new("runs").join(config.file_stem().unwrap_or_default())
}

/// A run that is ready to start: its images and its network.
struct Session<'c> {
    config: &'c Config,
    device: Device,
    train: Loader,
    test: Loader,
    model: Model,
}

impl<'c> Session<'c> {
    fn prepare(config: &'c Config, device: Device) -> Result<Self> {
        let (data, train) = (&config.data, &config.train);
        let open = |split, limit: Option<usize>| -> Result<_> {
            let dataset = data::open(data.name, data.root()?, split, &data.options())?;
            Ok(match limit {
                Some(n) => dataset.limit(n),
                None => dataset,
            })
        };
        let options = LoaderOptions {
            batch_size: train.batch_size,
            seed: train.seed,
            ..LoaderOptions::default()
        };
        let train = Loader::new(
            open(Split::Train, data.limit_train)?,
            data.train_transform()?,
            // A last batch of one image has no batch statistics and no HSIC.
            LoaderOptions { shuffle: true, drop_last: true, ..options.clone() },
        )?;
        let test = Loader::new(
            open(Split::Test, data.limit_test)?,
            evaluation_transform(&data.preprocessing)?,
            options,
        )?;
        let classes = train.dataset().classes.len() as i64;
        tch::manual_seed(config.train.seed as i64);
        let model = Model::new(config.model.arch, classes, device, &config.model.options)?;
        if let Some(path) = &config.model.weights {
            let report = model.load_weights(path)?;
            eprintln!("initial weights: {}: {report}", path.display());
        }
        Ok(Self { config, device, train, test, model })
    }

    fn train(self, run: &RunDir) -> Result<()> {
        let started = Instant::now();
        let Self { config, device, train, test, model } = &self;
        let steps_per_epoch = train.batches_per_epoch() as u64;
        let total = config.train.epochs * steps_per_epoch;
        let mut trainer = Trainer::new(
            model.backbone(),
            model.parameters(),
            config.train.clone(),
            config.sib.clone(),
            steps_per_epoch,
        );
        let mut best_top1 = self.resume(run, &mut trainer)?;
        let mut log = run.metrics_log(trainer.steps())?;
        let mut progress = Progress::new("train", total, trainer.steps(), "steps");
        let save_every = Duration::from_secs_f64(config.train.checkpoint_every_minutes * 60.0);
        let mut saved = Instant::now();

        while trainer.steps() < total {
            let epoch = trainer.steps() / steps_per_epoch;
            let done_in_epoch = (trainer.steps() % steps_per_epoch) as usize;
            for batch in train.epoch(epoch, done_in_epoch) {
                let batch = batch?.to(*device);
                let measured = trainer
                    .step(&batch.images, &batch.labels)
                    .with_context(|| format!("batch of {}", batch.ids.join(", ")))?;
                let step = trainer.steps();
                if step.is_multiple_of(config.train.log_every_steps) {
                    for &(name, value) in &measured {
                        log.push(step, epoch, "train", name, value)?;
                    }
                }
                progress.step(|| {
                    let shown = measured.iter().take(5);
                    let terms: Vec<_> =
                        shown.map(|(name, v)| format!("{name} {}", short(*v))).collect();
                    format!("epoch {}  {}", epoch + 1, terms.join("  "))
                });
                if saved.elapsed() > save_every && step < (epoch + 1) * steps_per_epoch {
                    self.save(run, &trainer, &mut log, best_top1)?;
                    saved = Instant::now();
                }
            }
            let last = trainer.steps() == total;
            if last || (epoch + 1).is_multiple_of(config.train.evaluate_every_epochs) {
                let accuracy = accuracy(model, test, *device)?;
                for (name, value) in [("top1", accuracy.top1_pct), ("top5", accuracy.top5_pct)] {
                    log.push(trainer.steps(), epoch, "test", name, value)?;
                }
                progress.println(&format!(
                    "epoch {}/{}: test top-1 {:.2} %, top-5 {:.2} %",
                    epoch + 1,
                    config.train.epochs,
                    accuracy.top1_pct,
                    accuracy.top5_pct
                ));
                if config.train.log_information {
                    let sib = config.sib.clone().unwrap_or_default();
                    for (name, value) in information(model, test, *device, &sib)? {
                        log.push(trainer.steps(), epoch, "test", &name, value)?;
                    }
                }
                if best_top1.is_none_or(|best| accuracy.top1_pct > best) {
                    best_top1 = Some(accuracy.top1_pct);
                    model.save(&run.checkpoint("best.safetensors"), &self.meta(&trainer)?)?;
                }
            }
            self.save(run, &trainer, &mut log, best_top1)?;
            saved = Instant::now();
        }
        progress.finish();
        let seconds = started.elapsed().as_secs_f64();
        let rows = read_metrics(&run.metrics())?;
        let test = rows.into_iter().filter(|row| row.split == "test");
        let status = Status {
            state: "finished".to_owned(),
            epochs: config.train.epochs,
            steps: trainer.steps(),
            seconds,
            test: test.map(|row| (row.name, row.value)).collect(),
        };
        run.write("status.toml", &toml::to_string_pretty(&status)?)?;
        eprintln!("{}: {} steps in {}", run.path().display(), trainer.steps(), duration(seconds));
        Ok(())
    }

    fn meta(&self, trainer: &Trainer) -> Result<CheckpointMeta> {
        Ok(CheckpointMeta {
            arch: self.model.arch().name().to_owned(),
            classes: self.train.dataset().classes.clone(),
            preprocessing: self.config.data.preprocessing.clone(),
            config: self.config.to_toml()?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extra: BTreeMap::from([("steps".to_owned(), trainer.steps().to_string())]),
        })
    }

    /// Saves `last`. The trainer's state is written first and named by the checkpoint, so that
    /// there is a matching pair on the disk at any time.
    fn save(
        &self,
        run: &RunDir,
        trainer: &Trainer,
        log: &mut MetricsLog,
        best_top1: Option<f64>,
    ) -> Result<()> {
        log.flush()?;
        let last = run.checkpoint(LAST);
        let previous = state_file_of(&last);
        let state = format!("state-{}.safetensors", trainer.steps());
        let (tensors, mut text) = trainer.state();
        if let Some(top1) = best_top1 {
            text.insert("best_top1".to_owned(), top1.to_string());
        }
        write_tensors(&run.checkpoint(&state), &tensors, &text)?;
        let mut meta = self.meta(trainer)?;
        meta.extra.insert(STATE_KEY.to_owned(), state.clone());
        self.model.save(&last, &meta)?;
        if let Some(previous) = previous.filter(|previous| *previous != state) {
            // A state file that is left over does no harm.
            let _ = std::fs::remove_file(run.checkpoint(&previous));
        }
        Ok(())
    }

    /// Restores `last`, where there is one; returns the best top-1 so far.
    fn resume(&self, run: &RunDir, trainer: &mut Trainer) -> Result<Option<f64>> {
        let last = run.checkpoint(LAST);
        if !last.exists() {
            return Ok(None);
        }
        let (weights, meta) = read_checkpoint(&last)?;
        let Some(state) = meta.extra.get(STATE_KEY) else {
            bail!("{}: names no training state to go on from", last.display());
        };
        let report = self.model.load_state_dict(&weights, &last)?;
        if !report.is_exact() {
            bail!("{}: does not fit the run's network: {report}", last.display());
        }
        let state = run.checkpoint(state);
        let (tensors, text) = read_tensors(&state)?;
        trainer
            .restore(&tensors, &text)
            .with_context(|| format!("{}: cannot go on from here", state.display()))?;
        eprintln!("{}: going on after step {}", run.path().display(), trainer.steps());
        Ok(text.get("best_top1").and_then(|top1| top1.parse().ok()))
    }
}

const LAST: &str = "last.safetensors";
const STATE_KEY: &str = "state";

/// Name of the trainer's state that belongs to the checkpoint at `last`, where there is one.
fn state_file_of(last: &Path) -> Option<String> {
    sib_core::checkpoint::read_meta(last).ok()?.extra.remove(STATE_KEY)
}

/// Information between the regions of image and R, by all three measures: means over the full
/// batches of the split (all measures depend on the batch size).
fn information(
    model: &Model,
    test: &Loader,
    device: Device,
    sib: &SibConfig,
) -> Result<Vec<(String, f64)>> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    let mut batches = 0.0;
    let size = test.options().batch_size;
    for batch in test.epoch(0, 0) {
        let batch = batch?.to(device);
        if batch.len() < size && batches > 0.0 {
            break;
        }
        let images = batch.images.set_requires_grad(true);
        let logits = model.backbone().forward(&images, Mode::Eval);
        let r = sib.vjp.vjp(&images, &logits, false)?;
        let mask = sib.mask.apply(&r)?.mask;
        let measured = RegionInformation::measure(&images.detach(), &r, &mask)?;
        for (measure, pairs) in
            [("hsic", measured.hsic), ("cka", measured.cka), ("renyi_bits", measured.renyi_bits)]
        {
            for (x, row) in ["fg", "bg"].into_iter().zip(pairs) {
                for (r, value) in ["fg", "bg"].into_iter().zip(row) {
                    *sums.entry(format!("{measure}_x_{x}_r_{r}")).or_default() += value;
                }
            }
        }
        batches += 1.0;
    }
    Ok(sums.into_iter().map(|(name, sum)| (name, sum / batches)).collect())
}

/// Four significant digits, at any magnitude.
fn short(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:.3e}") } else { format!("{value:.4}") }
}

struct Accuracy {
    top1_pct: f64,
    top5_pct: f64,
}

fn accuracy(model: &Model, test: &Loader, device: Device) -> Result<Accuracy> {
    let (mut top1, mut top5, mut n) = (0, 0, 0);
    for batch in test.epoch(0, 0) {
        let batch = batch?.to(device);
        let logits = tch::no_grad(|| model.backbone().forward(&batch.images, Mode::Eval));
        let hits = |k: usize| -> Result<usize> {
            let k = k.min(model.num_classes() as usize);
            Ok(top_k_hits(&logits, &batch.labels, k)?.into_iter().filter(|&hit| hit).count())
        };
        top1 += hits(1)?;
        top5 += hits(5)?;
        n += batch.len();
    }
    let pct = |hits: usize| 100.0 * hits as f64 / n as f64;
    Ok(Accuracy { top1_pct: pct(top1), top5_pct: pct(top5) })
}
