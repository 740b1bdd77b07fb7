//! What the workspace depends on, by `deny.toml`: licences, versions that stand twice, and where packages
//! come from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use toml::Table;

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn deny() -> Table {
    toml::from_str(&std::fs::read_to_string(root().join("deny.toml")).unwrap()).unwrap()
}

/// All packages, those of other platforms among them: cargo fetches what building has not.
fn packages() -> Vec<Value> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--locked"]);
    let output = command.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn text<'v>(package: &'v Value, key: &str) -> &'v str {
    package[key].as_str().unwrap_or_default()
}

/// The alternatives of an SPDX expression, each with all licences that it takes: `OR` binds less than
/// `AND`, and a slash is an old `OR`.
fn alternatives(expression: &str) -> Vec<BTreeSet<String>> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (alternatives, rest) = any(&words);
    assert!(rest.is_empty(), "{expression}: {rest:?}");
    alternatives
}

type Parsed<'w> = (Vec<BTreeSet<String>>, &'w [&'w str]);

fn any<'w>(words: &'w [&'w str]) -> Parsed<'w> {
    let (mut found, mut rest) = all(words);
    while let ["OR", more @ ..] = rest {
        let (others, after) = all(more);
        found.extend(others);
        rest = after;
    }
    (found, rest)
}

fn all<'w>(words: &'w [&'w str]) -> Parsed<'w> {
    let (mut found, mut rest) = one(words);
    while let ["AND", more @ ..] = rest {
        let (others, after) = one(more);
        let both = found.iter().flat_map(|a| others.iter().map(move |b| a | b));
        (found, rest) = (both.collect(), after);
    }
    (found, rest)
}

fn one<'w>(words: &'w [&'w str]) -> Parsed<'w> {
    match words {
        ["(", inner @ ..] => match any(inner) {
            (found, [")", rest @ ..]) => (found, rest),
            (_, rest) => panic!("no closing bracket: {rest:?}"),
        },
        [licence, "WITH", exception, rest @ ..] => {
            (vec![BTreeSet::from([format!("{licence} WITH {exception}")])], rest)
        }
        [licence, rest @ ..] => (vec![BTreeSet::from([(*licence).to_owned()])], rest),
        [] => panic!("no licence"),
    }
}

#[test]
fn expressions_of_licences_are_understood() {
    let words = |expression: &str| {
        let all = alternatives(expression);
        let joined = all.iter().map(|of| of.iter().cloned().collect::<Vec<_>>().join("+"));
        joined.collect::<Vec<_>>().join("|")
    };
    assert_eq!(words("MIT/Apache-2.0"), "MIT|Apache-2.0");
    assert_eq!(
        words("(MIT OR Apache-2.0) AND Unicode-3.0"),
        "MIT+Unicode-3.0|Apache-2.0+Unicode-3.0"
    );
    assert_eq!(words("A WITH B OR C AND D"), "A WITH B|C+D");
}

#[test]
fn every_licence_is_one_that_is_allowed() {
    let deny = deny();
    let allowed = deny["licenses"]["allow"].as_array().unwrap();
    let allowed: BTreeSet<String> =
        allowed.iter().map(|it| it.as_str().unwrap().to_owned()).collect();
    let mut used = BTreeSet::new();
    for package in packages() {
        let (name, licence) = (text(&package, "name"), text(&package, "license"));
        assert!(!licence.is_empty(), "{name}: says no licence");
        let alternatives = alternatives(licence);
        used.extend(alternatives.iter().flatten().cloned());
        let is_allowed = alternatives.iter().any(|of| of.is_subset(&allowed));
        assert!(is_allowed, "{name}: {licence}, expected of deny.toml's");
    }
    let unused: Vec<_> = allowed.difference(&used).collect();
    assert!(unused.is_empty(), "deny.toml allows what nothing has: {unused:?}");
}

#[test]
fn what_stands_twice_is_known_and_everything_is_from_the_registry() {
    let deny = deny();
    let skipped = deny["bans"]["skip"].as_array().unwrap().iter();
    let known: BTreeSet<String> =
        skipped.map(|it| it["crate"].as_str().unwrap().to_owned()).collect();
    let mut versions = BTreeMap::<String, usize>::new();
    for package in packages() {
        let (name, source) = (text(&package, "name"), text(&package, "source"));
        let is_ours = source.is_empty() && name.starts_with("sib-");
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        assert!(is_ours || source == registry, "{name}: {source}");
        *versions.entry(name.to_owned()).or_default() += 1;
    }
    let twice = versions.into_iter().filter(|(_, versions)| *versions > 1).map(|(name, _)| name);
    let twice: BTreeSet<String> = twice.collect();
    assert_eq!(twice, known, "packages in several versions, and those that deny.toml knows");
}
