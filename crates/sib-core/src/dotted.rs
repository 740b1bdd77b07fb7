//! Settings as data: by their dotted keys, so that what differs can be named.

use std::collections::BTreeMap;

use serde::Serialize;
use toml::{Table, Value};

/// Settings by their dotted keys; strings stand without quotation marks.
pub type Settings = BTreeMap<String, String>;

/// What is said of a setting that is not there.
pub const NOT_SET: &str = "not set";

/// The settings of a configuration.
pub fn flatten(table: &Table) -> Settings {
    let mut settings = Settings::new();
    visit("", table, &mut settings);
    settings
}

/// The settings that `value` is written as; `prefix` goes before each key.
///
/// # Errors
/// When it cannot be written as TOML.
pub fn of(value: &impl Serialize, prefix: &str) -> Result<Settings, toml::ser::Error> {
    let mut settings = Settings::new();
    visit(prefix, &Table::try_from(value)?, &mut settings);
    Ok(settings)
}

fn visit(prefix: &str, table: &Table, settings: &mut Settings) {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value {
            Value::Table(table) => visit(&format!("{key}."), table, settings),
            Value::String(text) => drop(settings.insert(key, text.clone())),
            other => drop(settings.insert(key, other.to_string())),
        }
    }
}

/// A setting that is not the same in two places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference<'s> {
    /// Its key.
    pub key: &'s str,
    /// Its value in the first; [`NOT_SET`] where it has none.
    pub first: &'s str,
    /// Its value in the second.
    pub second: &'s str,
}

/// The settings in which two places differ, by their keys.
pub fn differences<'s>(first: &'s Settings, second: &'s Settings) -> Vec<Difference<'s>> {
    let value = |of: &'s Settings, key: &str| of.get(key).map_or(NOT_SET, String::as_str);
    let mut keys: Vec<&String> = first.keys().chain(second.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .map(|key| Difference { key, first: value(first, key), second: value(second, key) })
        .filter(|difference| difference.first != difference.second)
        .collect()
}

/// Every difference in words: `threshold: fixed(0.5) against mean`.
pub fn in_words(differences: &[Difference<'_>]) -> String {
    let words = |it: &Difference<'_>| format!("{}: {} against {}", it.key, it.first, it.second);
    differences.iter().map(words).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_with_both_values() {
        let flat = |text: &str| flatten(&toml::from_str(text).unwrap());
        let first = flat("a = 1\n[b]\nc = 'x'\n[b.d]\ne = true");
        let second = flat("a = 1\nf = [1, 2]\n[b]\nc = 'y'\n[b.d]\ne = true");
        let found = differences(&first, &second);
        assert_eq!(in_words(&found), "b.c: x against y, f: not set against [1, 2]");
        assert!(differences(&first, &first).is_empty());
    }
}
