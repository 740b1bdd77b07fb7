//! Errors of the command line: which exit code, and how they are printed.

use std::any::Any;
use std::fmt;

/// A mistake in arguments or configuration: exit code 2.
#[derive(Debug)]
struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// What the user can do about an error; printed as `hint: ...`.
#[derive(Debug)]
struct Hint(String);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error in arguments or configuration, for exit code 2.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(message.into()))
}

/// The error with a line on what to do about it.
pub fn with_hint(error: anyhow::Error, hint: impl Into<String>) -> anyhow::Error {
    error.context(Hint(hint.into()))
}

/// What an error says in one line, without its hint.
pub fn message(error: &anyhow::Error) -> String {
    let mut messages: Vec<String> = Vec::new();
    for cause in error.chain().skip(usize::from(error.downcast_ref::<Hint>().is_some())) {
        // A message that already ends in its source's is not repeated.
        let message = cause.to_string();
        if !messages.last().is_some_and(|last| last.ends_with(&message)) {
            messages.push(message);
        }
    }
    messages.join(": ")
}

/// Prints `error: ...` and, where there is one, `hint: ...` to stderr; returns the exit code.
pub fn report(error: &anyhow::Error) -> u8 {
    let core = error.chain().find_map(|cause| cause.downcast_ref::<sib_core::Error>());
    let hint = error.downcast_ref::<Hint>();
    eprintln!("error: {}", message(error));
    if let Some(hint) = hint.map(|hint| hint.0.clone()).or_else(|| core?.hint()) {
        eprintln!("hint: {hint}");
    }
    let invalid =
        matches!(core, Some(sib_core::Error::Invalid { .. } | sib_core::Error::Device { .. }));
    if invalid || error.chain().any(|cause| cause.is::<Usage>()) { 2 } else { 1 }
}

/// Prints what a panic says as `error: ...`; returns the exit code.
pub fn report_panic(panic: &(dyn Any + Send)) -> u8 {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown panic");
    if text.contains("Broken pipe") {
        // The reader of the output has had enough.
        return 0;
    }
    eprintln!("error: {}", first_line_of_panic(text));
    eprintln!("hint: RUST_BACKTRACE=1 says where");
    1
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
    fn a_panic_of_tch_says_what_libtorch_said() {
        let text = "called `Result::unwrap()` on an `Err` value: Torch(\"not enough memory: 9 bytes\\n\
                    Exception raised from\\nframe #0\")";
        assert_eq!(first_line_of_panic(text), "not enough memory: 9 bytes");
        assert_eq!(first_line_of_panic("one\ntwo"), "one");
    }
}
