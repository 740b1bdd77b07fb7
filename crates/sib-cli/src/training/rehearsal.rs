//! What a run would be and take, without running it.

use std::io::Write;

use anyhow::Result;
use tch::Tensor;

use super::setup::Setup;
use crate::config::Config;
use crate::estimate::Estimator;
use crate::processes::Member;

/// Writes `config`, resolved, as a configuration that runs, headed by comments: parameters, images, updates, and by
/// `estimator` time and memory.
///
/// # Errors
/// As of a run that cannot begin; when steps cannot be timed.
pub fn rehearse(
    config: &Config,
    member: &Member,
    mut estimator: Estimator<'_>,
    out: &mut impl Write,
) -> Result<()> {
    let setup = Setup::prepare(config, member)?;
    setup.load_initial_weights()?;
    let millions = || {
        let parameters = setup.model.parameters();
        parameters.values().map(Tensor::numel).sum::<usize>() as f64 / 1e6
    };
    let all = millions();
    // Which freezes what is to stay as it is.
    let length = setup.fit()?.length();
    let trained = millions();
    writeln!(
        out,
        "# {}: {all:.2} million parameters, {trained:.2} of them trained",
        config.model.arch
    )?;
    let held_out = setup.held_out.iter().map(|loader| loader.dataset());
    let images = [setup.train.images.dataset()].into_iter().chain(held_out);
    let images: Vec<String> =
        images.map(|it| format!("{} {}", it.records.len(), it.split)).collect();
    writeln!(out, "# images: {}; {} classes", images.join(", "), setup.train.classes())?;
    let (steps, per_epoch) = (length.steps(), length.steps_per_epoch);
    writeln!(out, "# updates: {steps}, {per_epoch} an epoch")?;
    let estimate = estimator.of_images(config, setup.train.images.dataset().records.len())?;
    writeln!(out, "# here: about {estimate}, without evaluations\n")?;
    Ok(write!(out, "{}", config.to_toml()?)?)
}
