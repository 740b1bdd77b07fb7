//! Processes train one network only where they are of one mind.

use anyhow::Result;
use sib_core::dotted;
use sib_core::train::Fit;

use super::setup::Setup;
use crate::datasets::sha256;
use crate::processes;

/// Settings that each machine may have its own of.
const OWN: [&str; 4] = ["data.root", "data.workers", "data.cache_mib", "model.weights"];

/// Fails in all processes where they are not of one program, libtorch, configuration, list of images and state.
///
/// # Errors
/// Naming what differs, with two of the values.
pub(super) fn expect(setup: &Setup<'_>, fit: &Fit<'_>) -> Result<()> {
    let mut facts = processes::of_one_program();
    let settings = dotted::of(setup.config, "")?;
    facts.extend(settings.into_iter().filter(|(key, _)| !OWN.contains(&key.as_str())));
    let images = [&setup.train.images].into_iter().chain(&setup.held_out);
    facts.extend(images.map(|images| {
        let split = images.dataset().split;
        (format!("the digest of the {split} images"), sha256(images.dataset()))
    }));
    facts.push(("the number of updates made".to_owned(), fit.steps().to_string()));
    Ok(setup.member.group.agree(&facts)?)
}
