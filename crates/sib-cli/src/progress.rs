//! Progress on stderr: a bar on a terminal, a line now and then elsewhere.

use std::cell::Cell;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::SigId;
use signal_hook::consts::SIGCONT;
use signal_hook::{flag, low_level};

use crate::{note, output};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// Progress of a known number of steps.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    label: String,
    unit: String,
    started: Instant,
    last_line: Cell<Option<Instant>>,
    pace: Pace,
}

/// How fast this process is while it runs. A step in which it was stopped (Ctrl-Z, SIGSTOP) does not count.
#[derive(Debug)]
struct Pace {
    steps: u64,
    seconds: f64,
    /// When the last step was done.
    since: Instant,
    /// Whether the process was stopped and goes on.
    continued: Arc<AtomicBool>,
    /// Sets it; `None` where signals cannot be watched.
    watch: Option<SigId>,
}

impl Pace {
    fn new() -> Self {
        let continued = Arc::new(AtomicBool::new(false));
        let watch = flag::register(SIGCONT, Arc::clone(&continued)).ok();
        Self { steps: 0, seconds: 0.0, since: Instant::now(), continued, watch }
    }

    /// Counts `steps` that are done; whether the process ran all the while.
    fn count(&mut self, steps: u64) -> bool {
        let took = self.since.elapsed();
        self.since = Instant::now();
        let ran = !self.continued.swap(false, Ordering::Relaxed);
        if ran {
            self.steps += steps;
            self.seconds += took.as_secs_f64();
        }
        ran
    }

    /// Steps a second; 0 before the first.
    fn rate(&self) -> f64 {
        self.steps as f64 / self.seconds.max(1e-9)
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.watch.map(low_level::unregister);
    }
}

impl Progress {
    /// `total` steps called `unit`, of which `done` are already done.
    pub fn new(label: &str, total: u64, done: u64, unit: &str) -> Self {
        let bar = if std::io::stderr().is_terminal() && !output::is_silent() {
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(4))
        } else {
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden())
        };
        let template = format!(
            "{{prefix}} {{bar:24}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left  {{msg}}"
        );
        bar.set_style(
            ProgressStyle::with_template(&template)
                .expect("a valid template")
                .progress_chars("=> "),
        );
        bar.set_prefix(label.to_owned());
        bar.set_position(done);
        bar.reset_eta();
        Self {
            bar,
            label: label.to_owned(),
            unit: unit.to_owned(),
            started: Instant::now(),
            last_line: Cell::new(None),
            pace: Pace::new(),
        }
    }

    /// One more step done; `message` is only made where it will be shown.
    pub fn step(&mut self, message: impl FnOnce() -> String) {
        self.advance(1, message);
    }

    /// `steps` more done; `message` is only made where it will be shown.
    pub fn advance(&mut self, steps: u64, message: impl FnOnce() -> String) {
        let ran = self.pace.count(steps);
        self.bar.inc(steps);
        if !ran {
            self.bar.reset_eta();
        }
        if !self.bar.is_hidden() {
            self.bar.set_message(message());
            return;
        }
        if self.is_due() {
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let rate = self.rate();
            let left = duration(total.saturating_sub(done) as f64 / rate.max(1e-9));
            let (label, unit, message) = (&self.label, &self.unit, message());
            note!("{label} {done}/{total} {unit}, {rate:.1}/s, {left} left  {message}");
        }
    }

    /// What is being done within a long step; made where it will be shown.
    pub fn within(&self, doing: impl FnOnce() -> String) {
        if !self.bar.is_hidden() {
            self.bar.set_message(doing());
        } else if self.is_due() {
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
            note!("{} {done}/{total} {}, {}", self.label, self.unit, doing());
        }
    }

    /// Whether a line is due where there is no terminal; it then is the last one.
    fn is_due(&self) -> bool {
        let is_due = self.last_line.get().unwrap_or(self.started).elapsed() >= LINE_EVERY;
        if is_due {
            self.last_line.set(Some(Instant::now()));
        }
        is_due
    }

    /// Steps a second of this process so far.
    pub fn rate(&self) -> f64 {
        self.pace.rate()
    }

    /// A line that stays.
    pub fn println(&self, line: &str) {
        self.bar.suspend(|| note!("{line}"));
    }

    /// What is wrong with a part of the work, on a line that stays.
    pub fn error(&self, problem: &str) {
        self.bar.suspend(|| output::error(format_args!("error: {problem}")));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Seconds as `1h 02m`, `3m 20s` or `12s`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::{Pace, duration};

    #[test]
    fn a_stop_does_not_count() {
        let mut pace = Pace::new();
        std::thread::sleep(Duration::from_millis(5));
        assert!(pace.count(2));
        let rate = pace.rate();
        assert!(rate > 0.0 && rate < 400.0);
        pace.continued.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(5));
        assert!(!pace.count(1));
        assert_eq!(pace.rate(), rate);
        assert!(pace.count(1));
    }

    #[test]
    fn durations_read_well() {
        assert_eq!([12.4, 200.0, 3720.0].map(duration), ["12s", "3m 20s", "1h 02m"]);
    }
}
