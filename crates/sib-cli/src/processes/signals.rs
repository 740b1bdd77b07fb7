//! Signals by which a job is told to save and make room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGTERM, SIGUSR1};
use signal_hook::flag;

/// Whether SIGTERM or SIGUSR1 has come, as Slurm and torchrun send them before a job is ended. A second SIGTERM
/// ends the process.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<AtomicBool>);

impl Signals {
    /// Waits for them from now on.
    ///
    /// # Errors
    /// Where the operating system does not allow that.
    pub fn watch() -> Result<Self> {
        let signals = Self::default();
        let watch = || {
            flag::register_conditional_shutdown(SIGTERM, 128 + SIGTERM, Arc::clone(&signals.0))?;
            flag::register(SIGTERM, Arc::clone(&signals.0))?;
            flag::register(SIGUSR1, Arc::clone(&signals.0))
        };
        watch().context("cannot watch for signals")?;
        Ok(signals)
    }

    /// Whether one has come.
    pub fn have_come(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
