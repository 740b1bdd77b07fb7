//! Going on with a run: what may have changed since it was saved, and what that means.

use std::path::Path;

use anyhow::{Context, Result, bail};
use sib_core::checkpoint::read_meta;
use tch::Device;

use super::Session;
use super::running::LAST;
use crate::config::Config;
use crate::dotted::{self, Difference};
use crate::error::usage;
use crate::note;
use crate::run_dir::RunDir;

/// Settings that decide how far, how long and from where a run goes on, never what an update
/// computes. The initial weights are not read any more.
const MAY_CHANGE: [&str; 9] = [
    "train.epochs",
    "train.early_stop_epochs",
    "train.max_hours",
    "train.checkpoint_every_minutes",
    "train.tensorboard",
    "data.root",
    "data.workers",
    "data.cache_mib",
    "model.weights",
];

/// Goes on with the run in the folder at `path`, whose `config.toml` is changed by `assignments`. A run
/// that is at its end stays as it is.
///
/// # Errors
/// When a setting has changed that would make it another run, with both its values; when its files or
/// its images cannot be read.
pub fn go_on(path: &Path, assignments: &[String], device: Device) -> Result<()> {
    let file = path.join("config.toml");
    let config = Config::load(&file, assignments)
        .with_context(|| format!("{}: cannot be resumed", path.display()))?;
    let run = RunDir::open(path)?;
    let last = run.checkpoint(LAST);
    let before = if last.exists() {
        let stored = read_meta(&last)?.config;
        toml::from_str(&stored).with_context(|| format!("{}: its settings", last.display()))?
    } else {
        Config::load(&file, &[])?
    };
    let (settings_before, settings) = (dotted::of(&before, "")?, dotted::of(&config, "")?);
    let changes = dotted::differences(&settings_before, &settings);
    if let Some(Difference { key, first, second }) =
        changes.iter().find(|change| !MAY_CHANGE.contains(&change.key))
    {
        return Err(usage(format!(
            "{}: {key} was {first} when the run was saved, now it is {second}: another run; one that \
             goes on may change {}",
            path.display(),
            MAY_CHANGE.join(", ")
        )));
    }
    if let Some(status) = run.status()? {
        let decide_the_end = ["train.epochs", "train.early_stop_epochs"];
        if !changes.iter().any(|change| decide_the_end.contains(&change.key)) {
            note!(
                "{}: already {} after {} epochs, nothing to do",
                path.display(),
                status.state,
                status.epochs
            );
            note!("hint: --set train.epochs=N trains on to N epochs");
            return Ok(());
        }
    }
    let session = Session::prepare(&config, device)?;
    if !last.exists() {
        session.load_initial_weights()?;
    }
    if config.train.epochs < before.train.epochs {
        session.expect_reaches(&last)?;
    }
    for Difference { key, first, second } in &changes {
        note!("{}: {key}: {first} -> {second}", path.display());
    }
    if config.train.epochs != before.train.epochs {
        note!("{}: {}", path.display(), what_more_epochs_mean(&before, &config, &session));
    }
    run.write("config.toml", &config.to_toml()?)?;
    run.remove_status()?;
    session.train(&run)
}

/// Whether the updates so far are those that a run of the new length would have made.
fn what_more_epochs_mean(before: &Config, now: &Config, session: &Session<'_>) -> String {
    let (schedule, per_epoch) = (&now.train.schedule, session.steps_per_epoch());
    let factor = |step, epochs| schedule.factor(step, per_epoch, epochs);
    let so_far = before.train.epochs.min(now.train.epochs) * per_epoch;
    let is_same = (0..so_far).all(|step| {
        factor(step, before.train.epochs).to_bits() == factor(step, now.train.epochs).to_bits()
    });
    let epochs = now.train.epochs;
    if is_same {
        return format!("its learning rate is at every step that of a run of {epochs} epochs");
    }
    format!(
        "the learning-rate schedule depends on the number of epochs: what was trained so far followed \
         that of {} epochs, so this is not what a run of {epochs} epochs from its start would be",
        before.train.epochs
    )
}

impl Session<'_> {
    /// Checks that the run whose last checkpoint is at `last` has not gone further than it shall.
    fn expect_reaches(&self, last: &Path) -> Result<()> {
        let steps: u64 =
            read_meta(last)?.extra.get("steps").and_then(|s| s.parse().ok()).unwrap_or_default();
        let (epochs, per_epoch) = (self.config.train.epochs, self.steps_per_epoch());
        if steps > epochs * per_epoch {
            bail!(
                "train.epochs: got {epochs}, but {} epochs are trained already",
                steps.div_ceil(per_epoch)
            );
        }
        Ok(())
    }
}
