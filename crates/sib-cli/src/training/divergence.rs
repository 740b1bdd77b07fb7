//! What is said where a loss, a gradient or the network is not finite.

use std::path::Path;

use sib_core::Error;

use crate::error::with_hint;

const HINT: &str = "a lower train.optimizer.learning_rate, train.schedule.warmup_epochs or \
                    train.clip_norm keeps training finite; with S-IB, lower weights of its terms too";

/// Whether training diverged, rather than something else failed.
pub(super) fn is_one(error: &Error) -> bool {
    matches!(error, Error::NonFinite { .. })
}

/// An update that diverged, whose images are in `file`.
pub(super) fn of_update(error: Error, file: &Path) -> anyhow::Error {
    let error = anyhow::Error::new(error);
    with_hint(error.context(format!("{}: names the images", file.display())), HINT)
}

/// The network of `run` that had diverged when it was evaluated after update `step`.
pub(super) fn of_network(error: Error, run: &Path, step: u64) -> anyhow::Error {
    let error = anyhow::Error::new(error);
    let context = format!("{}: training diverged by step {step}", run.display());
    with_hint(error.context(context), HINT)
}
