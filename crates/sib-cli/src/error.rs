//! Errors of the command line: which exit code, and how they are printed.

use std::any::Any;
use std::{fmt, io};

use sib_core::Error;

use crate::output;
use crate::processes::{self, Voice};

/// A mistake in arguments or configuration: exit code 2.
#[derive(Debug)]
struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error with what the user can do about it, which is printed as `hint: ...`.
#[derive(Debug)]
struct Hinted {
    hint: String,
    error: anyhow::Error,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Hinted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.error)
    }
}

/// An error that other processes have told, with its exit code.
#[derive(Debug)]
struct Told(i32);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a process ended with exit code {}", self.0)
    }
}

impl std::error::Error for Told {}

/// An error that other processes have told, for the exit code of theirs.
pub fn told(code: i32) -> anyhow::Error {
    anyhow::Error::new(Told(code))
}

/// An error in arguments or configuration, for exit code 2.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(message.into()))
}

/// The error with a line on what to do about it.
pub fn with_hint(error: anyhow::Error, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Hinted { hint: hint.into(), error })
}

/// What an error says in one line, without its hint.
pub fn message(error: &anyhow::Error) -> String {
    let mut messages: Vec<String> = Vec::new();
    for cause in error.chain() {
        // A message that already ends in its source's is not repeated.
        let message = cause.to_string();
        if !messages.last().is_some_and(|last| last.ends_with(&message)) {
            messages.push(message);
        }
    }
    messages.join(": ")
}

/// Prints `error: ...` and, where there is one, `hint: ...` to stderr; returns the exit code.
///
/// Where the error is that nobody reads the output any more, it is none: the command has done what
/// was asked of it, as other filters see it too.
pub fn report(error: &anyhow::Error) -> u8 {
    if is_closed_pipe(error) {
        return 0;
    }
    if let Some(Told(code)) = error.chain().find_map(|cause| cause.downcast_ref()) {
        return u8::try_from(*code).unwrap_or(1);
    }
    let core = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    let hinted = error.chain().find_map(|cause| cause.downcast_ref::<Hinted>());
    let message = message(error);
    let of_memory = || is_of_memory(&message).then(|| LESS_MEMORY.to_owned());
    let hint = hinted.map(|hinted| hinted.hint.clone()).or_else(|| remedy(core?));
    tell(&message, hint.or_else(of_memory).as_deref());
    let invalid = matches!(core, Some(Error::Invalid { .. } | Error::Device { .. }));
    if invalid || error.chain().any(|cause| cause.is::<Usage>()) { 2 } else { 1 }
}

/// Prints an error and a hint, once for all processes that share the command.
fn tell(message: &str, hint: Option<&str>) {
    let lost = processes::lost(message);
    let (message, hint) = match &lost {
        Some(lost) => (lost.as_str(), Some(GO_ON)),
        None => (message, hint),
    };
    match processes::leave() {
        Voice::Silent => return,
        Voice::Of(rank) if lost.is_none() => output::error(format_args!("error: {rank}{message}")),
        _ => output::error(format_args!("error: {message}")),
    }
    if let Some(hint) = hint {
        output::error(format_args!("hint: {hint}"));
    }
}

/// What a user can do about an error of the libraries, where that is known.
fn remedy(error: &Error) -> Option<String> {
    match error {
        Error::Device { .. } => Some(
            "scripts/setup.sh --cuda brings the CUDA libraries; `sib-cli doctor` says what was found"
                .to_owned(),
        ),
        Error::NotACheckpoint { path, .. } => Some(format!(
            "weights of other software are imported with `sib-cli import {} --arch ARCH --output CKPT`",
            path.display()
        )),
        Error::Undecided { path, setting, value, .. } => Some(format!(
            "`sib-cli import {} --{} {value}` settles it",
            path.display(),
            setting.replace('_', "-")
        )),
        Error::MissingImages { .. } => Some(
            "--allow-missing, in training data.allow_missing = true, goes on without them"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Whether stdout was closed while the command still wrote to it.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        io.or_else(|| match cause.downcast_ref::<csv::Error>()?.kind() {
            csv::ErrorKind::Io(error) => Some(error.kind()),
            _ => None,
        })
    });
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// Prints what a panic says as `error: ...`; returns the exit code.
pub fn report_panic(panic: &(dyn Any + Send)) -> u8 {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown panic");
    let message = first_line_of_panic(text);
    let hint = if is_of_memory(message) { LESS_MEMORY } else { "RUST_BACKTRACE=1 says where" };
    tell(message, Some(hint));
    1
}

/// What to do where a process was lost.
pub const GO_ON: &str =
    "a training goes on from what was saved with --resume, in as many processes or others";

/// What to do where a device is full.
const LESS_MEMORY: &str = "a smaller batch needs less: train.batch_size, with train.accumulate_batches for the same \
                           update, or --batch-size; train.checkpoint_blocks = true computes activations again \
                           instead of keeping them; `sib-cli train --resume RUN` goes on from what was saved";

/// Whether libtorch found no memory, of the host or of a GPU.
fn is_of_memory(message: &str) -> bool {
    ["out of memory", "not enough memory", "can't allocate memory"]
        .iter()
        .any(|words| message.contains(words))
}

/// libtorch's words without the Rust around them and the C++ stack behind them.
fn first_line_of_panic(text: &str) -> &str {
    let text = text.split_once("Torch(\"").map_or(text, |(_, words)| words);
    let end = ["\n", "\\n"].iter().filter_map(|end| text.find(end)).min();
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_no_part_of_the_message_wherever_it_was_given() {
        let inner = || with_hint(anyhow::anyhow!("no map"), "make one");
        for error in [inner(), inner().context("table"), with_hint(inner().context("table"), "x")] {
            let said = message(&error);
            assert!(said == "no map" || said == "table: no map", "{said}");
        }
        let usage = with_hint(usage("--x: what?"), "--y");
        assert_eq!(report(&usage.context("file")), 2);
    }

    #[test]
    fn what_can_be_done_is_said_in_the_words_of_the_command_line() {
        let path = std::path::PathBuf::from("net.pth");
        let (problem, value) = (String::new(), "NAME".to_owned());
        for (error, expected) in [
            (
                Error::NotACheckpoint { path: path.clone(), problem: problem.clone() },
                "`sib-cli import net.pth --arch ARCH --output CKPT`",
            ),
            (
                Error::Undecided { path: path.clone(), problem, setting: "num_classes", value },
                "`sib-cli import net.pth --num-classes NAME`",
            ),
            (
                Error::MissingImages { list: path, missing: 1, total: 2, first: String::new() },
                "data.allow_missing = true",
            ),
        ] {
            let hint = remedy(&error).unwrap();
            assert!(hint.contains(expected), "{hint}");
        }
        assert_eq!(remedy(&Error::invalid("key", 1, "2")), None);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(report(&anyhow::Error::new(closed()).context("printing")), 0);
        assert_eq!(report(&anyhow::Error::new(csv::Error::from(closed()))), 0);
        assert_eq!(report(&anyhow::Error::new(io::Error::from(io::ErrorKind::StorageFull))), 1);
    }

    #[test]
    fn a_full_device_is_told_from_other_faults() {
        for (message, is_of_memory) in [
            ("CUDA out of memory. Tried to allocate 2.00 MiB.", true),
            ("not enough memory: you tried to allocate 9 bytes.", true),
            ("DefaultCPUAllocator: can't allocate memory: 9 bytes", true),
            ("mat1 and mat2 shapes cannot be multiplied", false),
        ] {
            assert_eq!(super::is_of_memory(message), is_of_memory, "{message}");
        }
    }

    #[test]
    fn a_panic_of_tch_says_what_libtorch_said() {
        let text = "called `Result::unwrap()` on an `Err` value: Torch(\"not enough memory: 9 bytes\\n\
                    Exception raised from\\nframe #0\")";
        assert_eq!(first_line_of_panic(text), "not enough memory: 9 bytes");
        assert_eq!(first_line_of_panic("one\ntwo"), "one");
    }
}
