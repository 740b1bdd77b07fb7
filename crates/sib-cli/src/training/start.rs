//! A run from its beginning, and what every run comes to.

use std::path::Path;

use anyhow::Result;
use sib_core::data::Split;
use sib_core::device;
use sib_core::train::Fit;
use tch::Device;

use super::checkpoints;
use super::held_out::HeldOut;
use super::recorder::Recorder;
use super::setup::Setup;
use crate::config::Config;
use crate::environment::Environment;
use crate::note;
use crate::run::{CONFIG, ENVIRONMENT, RunDir};

/// Trains as `config` says in a new folder at `path`.
///
/// # Errors
/// When a setting does not fit the images, a file cannot be read or written, or a loss is not finite.
pub fn begin(config: &Config, path: &Path, device: Device) -> Result<()> {
    // Everything that can fail on bad input fails before the folder is made.
    let setup = Setup::prepare(config, device)?;
    setup.load_initial_weights()?;
    let fit = setup.fit()?;
    let run = RunDir::create(path)?;
    // The configuration last: with it, the run can be resumed.
    run.write(ENVIRONMENT, &Environment::of(device).to_toml()?)?;
    run.write(CONFIG, &config.to_toml()?)?;
    train(&setup, fit, &run)
}

/// Trains in the folder `run` from where it stands to the end of the configuration, or until its time
/// limit.
///
/// # Errors
/// When a file cannot be read or written, or a loss is not finite.
pub(super) fn train(setup: &Setup<'_>, mut fit: Fit<'_>, run: &RunDir) -> Result<()> {
    say_what_is_used(setup);
    device::choose_algorithms(setup.model.device(), setup.config.train.deterministic);
    let seconds_before = checkpoints::restore(run, setup, &mut fit)?;
    let mut recorder = Recorder::new(setup, run, &fit, seconds_before)?;
    let Setup { config, held_out, .. } = setup;
    let mut evaluation = HeldOut {
        images: held_out,
        information: config.train.log_information.then(|| config.sib.clone().unwrap_or_default()),
        run: run.path(),
    };
    let end = fit.run(&mut evaluation, &mut recorder)?;
    recorder.finish(end, fit.steps())
}

/// What a user should know of the images, and of what the best checkpoint is best at.
fn say_what_is_used(setup: &Setup<'_>) {
    for images in [&setup.train.images].into_iter().chain(&setup.held_out) {
        images.dataset().remarks().iter().for_each(|remark| note!("{remark}"));
    }
    match setup.chosen_on() {
        Split::Validation => note!("best.safetensors is chosen on the validation split"),
        _ => note!(
            "no validation split: best.safetensors is chosen on test, whose accuracy it then \
             overstates"
        ),
    }
}
