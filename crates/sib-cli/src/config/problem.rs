//! What is wrong with a configuration, in the words of the field.

use anyhow::Result;
use sib_core::nearest;
use sib_core::objective::SibConfig;

use super::settings::Config;
use crate::dotted;
use crate::error::{usage, with_hint};

/// The configuration in `source`; errors name the `file`, the key and, where one looks like it, the
/// key that may have been meant.
pub(super) fn deserialised<'de, D>(source: D, file: &str) -> Result<Config>
where
    D: serde::Deserializer<'de, Error = toml::de::Error>,
{
    serde_path_to_error::deserialize(source).map_err(|error| {
        let key = error.path().to_string();
        let problem = in_words(error.inner());
        let problem = if problem.contains('\n') { format!("\n{problem}") } else { problem };
        let error = usage(format!("{file}: {key}: {problem}"));
        let known = if problem.contains("unknown field") { all_keys() } else { Vec::new() };
        match nearest::key(&key, &known) {
            Some(meant) => with_hint(error, format!("did you mean {meant}?")),
            None => error,
        }
    })
}

/// What serde and toml call by the names of Rust's types, in those of the field; with the line where there
/// is one.
fn in_words(error: &toml::de::Error) -> String {
    let mut text = match error.span() {
        Some(_) => error.to_string().trim_end().to_owned(),
        None => error.message().to_owned(),
    };
    for (theirs, ours) in WORDS {
        text = text.replace(theirs, ours);
    }
    // `expected struct variant Mix::Mixup`, `expected struct Preprocessing`.
    while let Some(start) = text.find("expected struct") {
        let end = text[start..].find(['\n', ',']).map_or(text.len(), |end| start + end);
        text.replace_range(start..end, "expected a table");
    }
    text
}

const WORDS: [(&str, &str); 11] = [
    // A number, or a word, where a table of one key stands for a choice.
    ("invalid type: unit variant, expected string only", "expected a string or a table"),
    ("invalid type: unit variant, expected struct variant", "expected a table"),
    ("wanted string or table", "expected a string or a table"),
    ("wanted exactly 1 element, found", "expected one key, got"),
    ("unknown variant", "got"),
    ("invalid type:", "got"),
    ("expected u64", "expected a whole number"),
    ("expected usize", "expected a whole number"),
    ("expected i64", "expected a whole number"),
    ("expected u32", "expected a whole number"),
    ("expected f64", "expected a number"),
];

/// Every key that has a value by default, with S-IB.
fn all_keys() -> Vec<String> {
    let all = Config { sib: Some(SibConfig::default()), ..Config::default() };
    dotted::of(&all, "").map_or(Vec::new(), |settings| settings.into_keys().collect())
}
