//! What the program says beside its results, also where nobody reads any more.
//!
//! Results go to [`results`] by `write!`, so that a closed pipe is an error like any other, which ends the
//! command quietly (see [`crate::error::report`]).

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::foreign_text::{for_terminal, harmless};

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

/// Where results go: stdout, byte for byte, but on a terminal without what it would act on.
pub fn results() -> Box<dyn Write> {
    let stdout = io::stdout().lock();
    match stdout.is_terminal() {
        true => Box::new(ForTerminal { line: Vec::new(), terminal: stdout }),
        false => Box::new(stdout),
    }
}

/// Passes on each line when it is whole, or when it is flushed, without what a terminal acts on.
struct ForTerminal<W: Write> {
    line: Vec<u8>,
    terminal: W,
}

impl<W: Write> Write for ForTerminal<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(text);
        if text.contains(&b'\n') {
            self.flush()?;
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        self.terminal.write_all(harmless(&String::from_utf8_lossy(&line)).as_bytes())?;
        self.terminal.flush()
    }
}

impl<W: Write> Drop for ForTerminal<W> {
    fn drop(&mut self) {
        let _ = self.flush();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_on_a_terminal_do_not_act_on_it_however_they_are_cut_into_writes() {
        let mut shown = Vec::new();
        let mut results = ForTerminal { line: Vec::new(), terminal: &mut shown };
        for byte in "a\u{1b}]0;title\u{7}\u{9b}2Jé\nrest".bytes() {
            results.write_all(&[byte]).unwrap();
        }
        drop(results);
        let expected = "a\u{fffd}]0;title\u{fffd}\u{fffd}2Jé\nrest";
        assert_eq!(String::from_utf8(shown).unwrap(), expected);
    }
}
