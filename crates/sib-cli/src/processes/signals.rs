//! Signals by which a command is told to save and make room.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;

use crate::error::told;

/// What the exit code of a command that a signal has ended is above the signal's number.
const ENDED_BY: i32 = 128;
/// That of a command that Ctrl-C has ended.
pub const INTERRUPTED: i32 = ENDED_BY + SIGINT;

/// Whether SIGINT (Ctrl-C), SIGTERM or SIGUSR1 has come; Slurm and torchrun send the latter two before a job is ended. A
/// second SIGINT or SIGTERM ends the process.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    any: Arc<AtomicBool>,
    interrupt: Arc<AtomicBool>,
}

impl Signals {
    /// Waits for them from now on.
    ///
    /// # Errors
    /// Where the operating system does not allow that.
    pub fn watch() -> Result<Self> {
        let signals = Self::default();
        let watch = || {
            for signal in [SIGINT, SIGTERM] {
                let any = || Arc::clone(&signals.any);
                flag::register_conditional_shutdown(signal, ENDED_BY + signal, any())?;
                flag::register(signal, any())?;
            }
            flag::register(SIGINT, Arc::clone(&signals.interrupt))?;
            flag::register(SIGUSR1, Arc::clone(&signals.any))
        };
        watch().context("cannot watch for signals")?;
        Ok(signals)
    }

    /// Whether one has come.
    pub fn have_come(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// An error where Ctrl-C has come, so that what was to follow the command does not.
    ///
    /// # Errors
    /// For exit code 130.
    pub fn interrupted(&self) -> Result<()> {
        if self.interrupt.load(Ordering::Relaxed) { Err(told(INTERRUPTED)) } else { Ok(()) }
    }
}

/// Signals that are for the processes which this one has started.
#[derive(Debug, Clone, Default)]
pub struct Passed {
    last: Arc<AtomicUsize>,
    end: Arc<AtomicBool>,
}

/// How long a process is waited for between two looks at the signals.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Passed {
    /// Waits for them from now on.
    ///
    /// # Errors
    /// Where the operating system does not allow that.
    pub fn watch() -> Result<Self> {
        let passed = Self::default();
        let watch = || -> io::Result<()> {
            for signal in [SIGTERM, SIGUSR1] {
                flag::register_usize(signal, Arc::clone(&passed.last), signal as usize)?;
            }
            // A terminal sends Ctrl-C to the others as well.
            for signal in [SIGINT, SIGTERM] {
                flag::register(signal, Arc::clone(&passed.end))?;
            }
            Ok(())
        };
        watch().context("cannot watch for signals")?;
        Ok(passed)
    }

    /// Whether one of those that end a command has come.
    pub fn have_told_to_end(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Passes on what has come since the last call.
    pub fn pass<'c>(&self, to: impl IntoIterator<Item = &'c Child>) {
        let signal = match self.last.swap(0, Ordering::Relaxed) as i32 {
            SIGTERM => Signal::TERM,
            SIGUSR1 => Signal::USR1,
            _ => return,
        };
        for pid in to.into_iter().filter_map(|child| Pid::from_raw(child.id() as i32)) {
            // One that has gone needs none.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for `child`, which gets what comes meanwhile.
    ///
    /// # Errors
    /// Where it cannot be waited for.
    pub fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        loop {
            self.pass([&*child]);
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
