//! What the program says beside its results, also where nobody reads any more.
//!
//! Results go to stdout by `write!`, so that a closed pipe is an error like any other, which ends the
//! command quietly (see [`crate::error::report`]).

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::foreign_text::for_terminal;

/// Whether another process says it all.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Whether errors alone are said.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Says errors alone from now on.
pub fn hush() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Says nothing from now on, or something again.
pub fn silence(silent: bool) {
    SILENT.store(silent, Ordering::Relaxed);
}

/// Whether nothing but errors is said.
pub fn is_silent() -> bool {
    SILENT.load(Ordering::Relaxed) || QUIET.load(Ordering::Relaxed)
}

/// Writes a line to stderr. That nobody reads it is no reason to end hours of work.
pub fn note(line: fmt::Arguments<'_>) {
    if !is_silent() {
        let _ = writeln!(io::stderr(), "{}", for_terminal(&line.to_string()));
    }
}

/// Writes a line of an error to stderr, which is said unless another process says it.
pub fn error(line: fmt::Arguments<'_>) {
    if !SILENT.load(Ordering::Relaxed) {
        let _ = writeln!(io::stderr(), "{}", for_terminal(&line.to_string()));
    }
}

/// A number of things, as `1 epoch`, `2 epochs`.
pub fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A line on stderr, as `eprintln!`, but nothing happens where nobody reads.
#[macro_export]
macro_rules! note {
    ($($argument:tt)*) => { $crate::output::note(format_args!($($argument)*)) };
}
