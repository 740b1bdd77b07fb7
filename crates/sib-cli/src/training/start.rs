//! A run from its beginning, and what every run comes to.

use std::path::Path;

use anyhow::Result;
use sib_core::data::Split;
use sib_core::device;
use sib_core::train::{Fit, Precision};

use super::agreement;
use super::follower::Follower;
use super::held_out::HeldOut;
use super::recorder::Recorder;
use super::setup::Setup;
use crate::config::Config;
use crate::environment::Environment;
use crate::note;
use crate::processes::{Member, Signals};
use crate::run::{CONFIG, ENVIRONMENT, RunDir};

/// Trains as `config` says in a new folder at `path`, which the first of the processes writes.
///
/// # Errors
/// When a setting does not fit the images, a file cannot be read or written, or a loss is not finite.
pub fn begin(config: &Config, path: &Path, member: &Member) -> Result<()> {
    // Everything that can fail on bad input fails before the folder is made.
    let setup = Setup::prepare(config, member)?;
    setup.load_initial_weights()?;
    let fit = setup.fit()?;
    agreement::expect(&setup, &fit)?;
    let run = member.group.is_first().then(|| RunDir::create(path)).transpose()?;
    // The configuration last: with it, the run can be resumed.
    if let Some(run) = &run {
        run.write(ENVIRONMENT, &Environment::of(member.device).to_toml()?)?;
        run.write(CONFIG, &config.to_toml()?)?;
    }
    train(&setup, fit, path, run.as_ref(), 0.0)
}

/// Trains the run at `path`, which `run` holds in the first of the processes, from where it stands after
/// `seconds_before` to the end of the configuration, or until its time limit.
///
/// # Errors
/// When a file cannot be read or written, or a loss is not finite.
pub(super) fn train(
    setup: &Setup<'_>,
    mut fit: Fit<'_>,
    path: &Path,
    run: Option<&RunDir>,
    seconds_before: f64,
) -> Result<()> {
    say_what_is_used(setup);
    device::choose_algorithms(setup.model.device(), setup.config.train.deterministic);
    let signals = Signals::watch()?;
    let Setup { config, held_out, member, .. } = setup;
    let mut evaluation = HeldOut {
        images: held_out,
        information: config.train.log_information.then(|| config.sib.clone().unwrap_or_default()),
        run: path,
        group: &member.group,
    };
    match run {
        Some(run) => {
            let signals = signals.clone();
            let mut recorder = Recorder::new(setup, run, &fit, seconds_before, signals)?;
            let end = fit.run(&mut evaluation, &mut recorder)?;
            recorder.finish(end, fit.steps())?;
        }
        None => {
            let log_every_steps = config.train.log_every_steps;
            let signals = signals.clone();
            fit.run(&mut evaluation, &mut Follower { log_every_steps, signals })?;
        }
    }
    signals.interrupted()
}

/// What a user should know of the images, and of what the best checkpoint is best at.
fn say_what_is_used(setup: &Setup<'_>) {
    for images in [&setup.train.images].into_iter().chain(&setup.held_out) {
        images.dataset().remarks().iter().for_each(|remark| note!("{remark}"));
    }
    let device = setup.model.device();
    if setup.config.train.precision == Precision::Bf16 && !device::has_bfloat16(device) {
        note!("train.precision: bf16 is emulated by this processor");
    }
    match setup.chosen_on() {
        Split::Validation => note!("best.safetensors is chosen on the validation split"),
        _ => note!(
            "no validation split: best.safetensors is chosen on test, whose accuracy it then \
             overstates"
        ),
    }
}
