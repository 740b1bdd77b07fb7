//! Going on with a run: what may have changed since it was saved, and what that means.

use std::path::Path;

use anyhow::{Context, Result, bail};
use sib_core::checkpoint::read_meta;
use sib_core::train::{Fit, Length};

use super::agreement;
use super::checkpoints::{self, LAST, steps_of};
use super::setup::Setup;
use super::start::train;
use crate::config::Config;
use crate::dotted::{self, Difference};
use crate::error::usage;
use crate::note;
use crate::output::count;
use crate::processes::Member;
use crate::run::{CONFIG, RunDir, Status, checkpoint_of};

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
pub fn go_on(path: &Path, assignments: &[String], member: &Member) -> Result<()> {
    let file = path.join(CONFIG);
    let mut config = Config::load(&file, assignments)
        .with_context(|| format!("{}: cannot be resumed", path.display()))?;
    config.train.spread_over(member.group.size());
    // The first process holds the folder; the others only read, until all have agreed.
    let run = member.group.is_first().then(|| RunDir::open(path)).transpose()?;
    let last = checkpoint_of(path, LAST);
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
    if let Some(status) = Status::read(path)? {
        let decide_the_end = ["train.epochs", "train.early_stop_epochs"];
        if !changes.iter().any(|change| decide_the_end.contains(&change.key)) {
            note!(
                "{}: already {} after {}, nothing to do",
                path.display(),
                status.state,
                count(status.epochs, "epoch")
            );
            note!("hint: --set train.epochs=N trains on to N epochs");
            return Ok(());
        }
    }
    let setup = Setup::prepare(&config, member)?;
    if !last.exists() {
        setup.load_initial_weights()?;
    }
    let mut fit = setup.fit()?;
    if config.train.epochs < before.train.epochs {
        expect_reaches(&fit, &last)?;
    }
    for Difference { key, first, second } in &changes {
        note!("{}: {key}: {first} -> {second}", path.display());
    }
    if config.train.epochs != before.train.epochs {
        note!("{}: {}", path.display(), what_more_epochs_mean(&before, &config, fit.length()));
    }
    let seconds_before = checkpoints::restore(path, &setup, &mut fit)?;
    agreement::expect(&setup, &fit)?;
    if let Some(run) = &run {
        // Before the configuration: that of more epochs beside the end of fewer would be untrue.
        Status::remove(run)?;
        run.write(CONFIG, &config.to_toml()?)?;
        checkpoints::remove_unnamed_states(run);
    }
    train(&setup, fit, path, run.as_ref(), seconds_before)
}

/// Whether the updates so far are those that a run of the new `length` would have made.
fn what_more_epochs_mean(before: &Config, now: &Config, length: Length) -> String {
    let epochs = count(length.epochs, "epoch");
    let length_before = Length { epochs: before.train.epochs, ..length };
    let factor = |step, length| now.train.schedule.factor(step, length).to_bits();
    let so_far = length.steps().min(length_before.steps());
    if (0..so_far).all(|step| factor(step, length_before) == factor(step, length)) {
        return format!("its learning rate is at every step that of a run of {epochs}");
    }
    format!(
        "the learning-rate schedule depends on the number of epochs: what was trained so far followed \
         that of {}, so this is not what a run of {epochs} from its start would be",
        count(before.train.epochs, "epoch")
    )
}

/// Checks that the run whose last checkpoint is at `last` has not gone further than it shall.
fn expect_reaches(fit: &Fit<'_>, last: &Path) -> Result<()> {
    let (steps, length) = (steps_of(last)?, fit.length());
    if steps > length.steps() {
        bail!(
            "train.epochs: got {}, but {} epochs are trained already",
            length.epochs,
            steps.div_ceil(length.steps_per_epoch)
        );
    }
    Ok(())
}
