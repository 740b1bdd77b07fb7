//! What a training takes on the machine at hand, from steps that are timed there.

use std::collections::HashMap;
use std::fmt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use sib_core::data::DatasetName;
use sib_core::objective::SibConfig;
use sib_models::Arch;

use crate::config::Config;
use crate::note;
use crate::output::count;

/// A training in hours, and its memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub hours: f64,
    /// Of tensors on a GPU, of the process without one; where it is known.
    pub mib: Option<f64>,
}

/// Trainings whose steps take the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    arch: Arch,
    side_px: i64,
    batch_size: usize,
    variant: &'static str,
    /// Settings of S-IB that make a step cheaper, as a candidate of `bench step`; empty: none.
    cheaper: String,
    precision: String,
}

impl Kind {
    /// Of the variant in `bench step`.
    fn name(&self) -> &str {
        if self.cheaper.is_empty() { self.variant } else { &self.cheaper }
    }
}

/// The settings that say on what the terms are computed and how often. Not [`SibConfig::images`], which few images of
/// a batch cannot tell: an estimate is then for all of them.
fn cheaper(sib: &SibConfig) -> String {
    let paper = SibConfig::default();
    let mut settings = Vec::new();
    if sib.vjp.at != paper.vjp.at {
        settings.push(format!("vjp.at={}", sib.vjp.at));
    }
    if sib.scale != paper.scale {
        settings.push(format!("scale={}", sib.scale));
    }
    if sib.every != paper.every {
        settings.push(format!("every={}", sib.every));
    }
    settings.join(" ")
}

/// What steps of a batch took.
#[derive(Debug, Clone, Copy)]
struct Measured {
    batch_size: usize,
    seconds: f64,
    mib: Option<f64>,
}

/// Estimates trainings; steps of one kind are timed once.
#[derive(Debug)]
pub struct Estimator<'d> {
    device: &'d str,
    known: HashMap<Kind, [Measured; 2]>,
}

/// Images a batch without a GPU: enough to see what each one more takes.
const SMALL: usize = 4;

impl<'d> Estimator<'d> {
    /// For trainings on `device`.
    pub fn new(device: &'d str) -> Self {
        Self { device, known: HashMap::new() }
    }

    /// A training with this configuration, without its evaluations; `None` where nobody knows how many images there
    /// are before they are opened.
    ///
    /// # Errors
    /// As [`Self::of_images`].
    pub fn of(&mut self, config: &Config) -> Result<Option<Estimate>> {
        let data = &config.data;
        let built_in = data.name == DatasetName::Synthetic;
        let made = built_in.then_some(data.synthetic.train_images);
        let known = [made.or(data.name.spec().train_images), data.limit_train];
        known.into_iter().flatten().min().map(|images| self.of_images(config, images)).transpose()
    }

    /// A training on so many images with this configuration, without its evaluations.
    ///
    /// # Errors
    /// When steps cannot be made, such as where memory does not suffice.
    pub fn of_images(&mut self, config: &Config, images: usize) -> Result<Estimate> {
        let (data, train) = (&config.data, &config.train);
        let sib = config.sib.as_ref().filter(|sib| sib.enabled);
        let variant = match (sib.is_some(), train.checkpoint_blocks) {
            (false, _) => "plain",
            (true, false) => "s-ib",
            (true, true) => "s-ib-checkpointed",
        };
        let kind = Kind {
            arch: config.model.arch,
            side_px: data.preprocessing.crop_px,
            batch_size: train.batch_size,
            variant,
            // `bench step` checkpoints the paper's objective alone.
            cheaper: sib.filter(|_| !train.checkpoint_blocks).map_or_else(String::new, cheaper),
            precision: train.precision.to_string(),
        };
        let measured = match self.known.get(&kind) {
            Some(&measured) => measured,
            None => {
                let measured = measure(&kind, self.device)?;
                self.known.insert(kind, measured);
                measured
            }
        };
        let steps = images / train.batch_size * train.epochs as usize;
        Ok(estimate(measured, train.batch_size, steps))
    }
}

/// Steps of the batch and of half of it; without a GPU of few images.
fn measure(kind: &Kind, device: &str) -> Result<[Measured; 2]> {
    let largest = if device == "cpu" { kind.batch_size.min(2 * SMALL) } else { kind.batch_size };
    // A batch of one has no HSIC.
    let sizes = [(largest / 2).max(2), largest];
    note!("timing {} of {} at {} px ...", kind.name(), kind.arch, kind.side_px);
    let [half, whole] = sizes.map(|batch_size| step(kind, batch_size, device));
    Ok([half?, whole?])
}

/// A step in a process of its own, whose memory ends with it.
fn step(kind: &Kind, batch_size: usize, device: &str) -> Result<Measured> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command
        .args(["bench", "step", "--repeat", "2", "--only", kind.name(), "--device", device])
        .args(["--arch", kind.arch.name(), "--size-px", &kind.side_px.to_string()])
        .args(["--batch-size", &batch_size.to_string(), "--precision", &kind.precision])
        .stderr(Stdio::inherit());
    if !kind.cheaper.is_empty() {
        command.args(["--candidate", &kind.cheaper]);
    }
    let output = command.output().context("cannot run this program")?;
    if !output.status.success() {
        bail!("a step of {} with {batch_size} images: {}", kind.arch, output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let after = |start: &str, separator: char| {
        let rest = text.lines().find_map(|line| line.strip_prefix(start))?;
        rest.split(separator).next()?.parse::<f64>().ok()
    };
    let seconds = after(&format!("{},", kind.name()), ',');
    let seconds = seconds.with_context(|| format!("no seconds in {text:?}"))?;
    Ok(Measured { batch_size, seconds, mib: after("peak_mib ", ' ') })
}

/// `steps` steps of `batch_size` images: as many seconds an image as the larger batch took, and memory as on the line
/// through both.
fn estimate([half, whole]: [Measured; 2], batch_size: usize, steps: usize) -> Estimate {
    let seconds = whole.seconds / whole.batch_size as f64 * batch_size as f64;
    let mib = half.mib.zip(whole.mib).map(|(half_mib, whole_mib)| {
        let images = (whole.batch_size - half.batch_size).max(1) as f64;
        let an_image = (whole_mib - half_mib).max(0.0) / images;
        whole_mib + an_image * (batch_size - whole.batch_size) as f64
    });
    Estimate { hours: seconds * steps as f64 / 3600.0, mib }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hours < 1.0 {
            write!(f, "{}", count((self.hours * 60.0).round().max(1.0) as u64, "minute"))?;
        } else {
            write!(f, "{:.1} hours", self.hours)?;
        }
        self.mib.map_or(Ok(()), |mib| write!(f, ", {:.1} GB of memory", mib / 1024.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_the_images_and_memory_the_line() {
        let measured = |batch_size, seconds, mib| Measured { batch_size, seconds, mib: Some(mib) };
        let of = [measured(4, 1.0, 1000.0), measured(8, 1.5, 1400.0)];
        let estimate = estimate(of, 64, 300);
        assert_eq!(estimate, Estimate { hours: 1.0, mib: Some(7000.0) });
        assert_eq!(estimate.to_string(), "1.0 hours, 6.8 GB of memory");
    }
}
