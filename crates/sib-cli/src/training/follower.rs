//! What a process does with its training where another one keeps the run.

use sib_core::train::{Observer, Position};

use crate::processes::Signals;

/// Keeps nothing, but looks at each update that [`Recorder`](super::recorder::Recorder) looks at.
pub(super) struct Follower {
    pub(super) log_every_steps: u64,
    pub(super) signals: Signals,
}

impl Observer for Follower {
    type Error = anyhow::Error;

    fn wants_measurements(&self, at: Position) -> bool {
        at.step.is_multiple_of(self.log_every_steps)
    }

    fn wants_to_end(&self) -> bool {
        self.signals.have_come()
    }
}
