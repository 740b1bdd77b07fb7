//! The checkpoints of a run, and how it goes on from them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sib_core::checkpoint::{
    CheckpointMeta, read_checkpoint, read_meta, read_tensors, write_tensors,
};
use sib_core::train::{Fit, Position, State};

use super::setup::Setup;
use crate::failpoint;
use crate::note;
use crate::run::{RunDir, checkpoint_of};

/// What training goes on from.
pub(super) const LAST: &str = "last.safetensors";
/// The best network so far; the moving average, where one is kept.
const BEST: &str = "best.safetensors";

const STEPS_KEY: &str = "steps";
const STATE_KEY: &str = "state";
const PER_EPOCH_KEY: &str = "steps_per_epoch";
const IMAGES_KEY: &str = "images_sha256";
const CHOSEN_ON_KEY: &str = "chosen_on";

/// Where the state holds the time that the run has taken.
const SECONDS: &str = "seconds";

/// Writes `best`.
pub(super) fn save_best(run: &RunDir, setup: &Setup<'_>, at: Position) -> Result<()> {
    let mut meta = meta(setup, at)?;
    meta.extra.insert(CHOSEN_ON_KEY.to_owned(), setup.chosen_on().to_string());
    setup.model.save(&run.checkpoint(BEST), &meta)?;
    failpoint::passed("best");
    Ok(())
}

/// Writes `last` of a run that has taken so many `seconds`. The trainer's state is written first and named
/// by the checkpoint, so that there is a matching pair on the disk at any time.
pub(super) fn save_last(
    run: &RunDir,
    setup: &Setup<'_>,
    at: Position,
    steps_per_epoch: u64,
    mut state: State,
    seconds: f64,
) -> Result<()> {
    let last = run.checkpoint(LAST);
    let state_file = format!("state-{}.safetensors", at.step);
    state.text.insert(SECONDS.to_owned(), seconds.to_string());
    write_tensors(&run.checkpoint(&state_file), &state.tensors, &state.text)?;
    failpoint::passed("state");
    let mut meta = meta(setup, at)?;
    meta.extra.insert(STATE_KEY.to_owned(), state_file.clone());
    meta.extra.insert(PER_EPOCH_KEY.to_owned(), steps_per_epoch.to_string());
    meta.extra.insert(IMAGES_KEY.to_owned(), setup.training_images_sha256.clone());
    setup.model.save(&last, &meta)?;
    failpoint::passed("last");
    remove_unnamed_states(run);
    Ok(())
}

/// Removes the states that `last` does not name: those before it, and those of processes that were killed between
/// writing the one and the other. One that cannot be removed does no harm but for its size.
pub(super) fn remove_unnamed_states(run: &RunDir) {
    let Some(named) = state_file_of(&run.checkpoint(LAST)) else { return };
    for entry in std::fs::read_dir(run.checkpoint("")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if is_state_file(&name) && name != named {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Restores `last` into network and `fit`, where there is one; returns the seconds that the run had taken.
///
/// # Errors
/// When its files cannot be read, are of another network, or the images are not those that the run was
/// begun with.
pub(super) fn restore(run: &Path, setup: &Setup<'_>, fit: &mut Fit<'_>) -> Result<f64> {
    let last = checkpoint_of(run, LAST);
    if !last.exists() {
        return Ok(0.0);
    }
    let (weights, meta) = read_checkpoint(&last)?;
    let Some(state) = meta.extra.get(STATE_KEY) else {
        bail!("{}: names no training state to go on from", last.display());
    };
    if !is_state_file(state) {
        bail!(
            "{}: names {state:?} as its training state, expected state-STEP.safetensors",
            last.display()
        );
    }
    let per_epoch = fit.length().steps_per_epoch.to_string();
    match meta.extra.get(PER_EPOCH_KEY) {
        Some(before) if *before != per_epoch => bail!(
            "{}: an epoch had {before} updates when the run was saved, now it has {per_epoch}: the \
             data or the batch size have changed",
            run.display()
        ),
        _ => {}
    }
    if meta.extra.get(IMAGES_KEY).is_some_and(|before| *before != setup.training_images_sha256) {
        bail!(
            "{}: its training images or their labels are not those that the run was begun with",
            setup.config.data.root()?.display()
        );
    }
    let report = setup.model.load_state_dict(&weights, &last)?;
    if !report.is_exact() {
        bail!("{}: does not fit the run's network: {report}", last.display());
    }
    let path = checkpoint_of(run, state);
    let (tensors, text) = read_tensors(&path)?;
    let state = State { tensors, text };
    fit.restore(&state).with_context(|| format!("{}: cannot go on from here", path.display()))?;
    let saved_after = steps_of(&last)?;
    if fit.steps() != saved_after {
        bail!(
            "{}: of {} updates, expected the {saved_after} of {}",
            path.display(),
            fit.steps(),
            last.display()
        );
    }
    note!("{}: going on after step {}", run.display(), fit.steps());
    Ok(state.text.get(SECONDS).and_then(|seconds| seconds.parse().ok()).unwrap_or_default())
}

/// Whether `name` is one that [`save_last`] gives: the checkpoint may be a stranger's, and the file is removed one day.
fn is_state_file(name: &str) -> bool {
    let step = name.strip_prefix("state-").and_then(|it| it.strip_suffix(".safetensors"));
    step.is_some_and(|step| !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Updates made when the checkpoint at `path` was saved.
///
/// # Errors
/// When it cannot be read.
pub(super) fn steps_of(path: &Path) -> Result<u64> {
    let steps = read_meta(path)?.extra.remove(STEPS_KEY);
    Ok(steps.and_then(|steps| steps.parse().ok()).unwrap_or_default())
}

fn meta(setup: &Setup<'_>, at: Position) -> Result<CheckpointMeta> {
    let Setup { config, model, train, .. } = setup;
    Ok(CheckpointMeta {
        arch: model.arch().name().to_owned(),
        classes: train.images.dataset().classes.clone(),
        preprocessing: config.data.preprocessing.clone(),
        config: config.to_toml()?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extra: BTreeMap::from([(STEPS_KEY.to_owned(), at.step.to_string())]),
    })
}

/// Name of the trainer's state that belongs to the checkpoint at `last`, where there is one.
fn state_file_of(last: &Path) -> Option<String> {
    read_meta(last).ok()?.extra.remove(STATE_KEY)
}
