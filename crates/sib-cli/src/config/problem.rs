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

/// What serde calls by Rust's names, in those of the field; with the line where there is one.
fn in_words(error: &toml::de::Error) -> String {
    let mut text = match error.span() {
        Some(_) => error.to_string().trim_end().to_owned(),
        None => error.message().to_owned(),
    };
    for number in ["u64", "usize", "i64", "u32"] {
        text = text.replace(&format!("expected {number}"), "expected a whole number");
    }
    text.replace("expected f64", "expected a number")
}

/// Every key that has a value by default, with S-IB.
fn all_keys() -> Vec<String> {
    let all = Config { sib: Some(SibConfig::default()), ..Config::default() };
    dotted::of(&all, "").map_or(Vec::new(), |settings| settings.into_keys().collect())
}
