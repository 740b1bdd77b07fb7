//! In which settings runs differ.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::dotted::{NOT_SET, Settings};

/// A setting, or a table of settings, that is not the same in all runs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// Its key; that of a table in brackets.
    pub(super) key: String,
    /// All its values.
    pub(super) values: Vec<ValueOf>,
}

/// A value and the runs that have it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ValueOf {
    /// The value.
    pub(super) value: String,
    /// Names of runs.
    pub(super) runs: Vec<String>,
}

/// The settings that are not the same in all `runs` (names and settings), but for those with the
/// keys `shown`. Settings of one table that the same runs lack, and that are alike in the others,
/// come as one.
pub(super) fn differences(runs: &[(&str, &Settings)], shown: &[&str]) -> Vec<Difference> {
    let keys: BTreeSet<&str> =
        runs.iter().flat_map(|(_, settings)| settings.keys()).map(String::as_str).collect();
    let mut found = Vec::new();
    let mut tables = BTreeMap::<(&str, Vec<bool>), Vec<&str>>::new();
    for key in keys.into_iter().filter(|key| !shown.contains(key)) {
        let values: Vec<Option<&String>> =
            runs.iter().map(|(_, settings)| settings.get(key)).collect();
        let distinct: BTreeSet<&String> = values.iter().copied().flatten().collect();
        let lacks: Vec<bool> = values.iter().map(Option::is_none).collect();
        if distinct.len() > 1 {
            found.push(of_setting(key, runs, &values));
        } else if lacks.contains(&true) {
            let table = key.split('.').next().unwrap_or(key);
            tables.entry((table, lacks)).or_default().push(key);
        }
    }
    for ((table, lacks), keys) in tables {
        found.push(match &keys[..] {
            [key] => {
                let values: Vec<_> = runs.iter().map(|(_, settings)| settings.get(*key)).collect();
                of_setting(key, runs, &values)
            }
            keys => of_table(table, keys.len(), runs, &lacks),
        });
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

fn of_setting(key: &str, runs: &[(&str, &Settings)], values: &[Option<&String>]) -> Difference {
    let shown = values.iter().map(|value| value.map_or(NOT_SET.to_owned(), String::clone));
    Difference { key: key.to_owned(), values: by_value(runs, shown) }
}

fn of_table(table: &str, keys: usize, runs: &[(&str, &Settings)], lacks: &[bool]) -> Difference {
    let shown = lacks.iter().map(|&lacks| match lacks {
        true => NOT_SET.to_owned(),
        false => format!("{keys} settings, alike"),
    });
    Difference { key: format!("[{table}]"), values: by_value(runs, shown) }
}

/// The values in the order in which runs first have them.
fn by_value(runs: &[(&str, &Settings)], values: impl Iterator<Item = String>) -> Vec<ValueOf> {
    let mut found = Vec::<ValueOf>::new();
    for ((name, _), value) in runs.iter().zip(values) {
        match found.iter_mut().find(|known| known.value == value) {
            Some(known) => known.runs.push((*name).to_owned()),
            None => found.push(ValueOf { value, runs: vec![(*name).to_owned()] }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dotted::flatten;

    fn settings(text: &str) -> Settings {
        flatten(&toml::from_str(text).unwrap())
    }

    fn shown(difference: &Difference) -> Vec<String> {
        let shown = |of: &ValueOf| format!("{}: {}", of.value, of.runs.join(" "));
        difference.values.iter().map(shown).collect()
    }

    #[test]
    fn what_all_runs_share_or_the_page_shows_elsewhere_is_left_out() {
        let a = settings("[train]\nseed = 1\nepochs = 3\nbetas = [0.9, 0.99]\n");
        let b = settings("[train]\nseed = 2\nepochs = 3\nbetas = [0.9, 0.999]\n");
        let found = differences(&[("a", &a), ("b", &b)], &["train.seed"]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].key, "train.betas");
        assert_eq!(shown(&found[0]), ["[0.9, 0.99]: a", "[0.9, 0.999]: b"]);
    }

    #[test]
    fn a_table_that_some_runs_lack_is_one_difference_beside_what_differs_in_it() {
        let plain = settings("[train]\nseed = 1\n");
        let weak =
            settings("[train]\nseed = 1\n[sib]\nform = 'linear'\nlambda = 1\n[sib.vjp]\nt=1");
        let strong =
            settings("[train]\nseed = 1\n[sib]\nform = 'linear'\nlambda = 5\n[sib.vjp]\nt=1");
        let found = differences(&[("p", &plain), ("w", &weak), ("s", &strong)], &[]);
        let keys: Vec<&str> = found.iter().map(|difference| difference.key.as_str()).collect();
        assert_eq!(keys, ["[sib]", "sib.lambda"]);
        assert_eq!(shown(&found[0]), ["not set: p", "2 settings, alike: w s"]);
        assert_eq!(shown(&found[1]), ["not set: p", "1: w", "5: s"]);
    }
}
