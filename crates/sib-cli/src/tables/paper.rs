//! The paper's own figures.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::Key;

/// Baseline and S-IB as published, by cell.
pub type Published = BTreeMap<Key, (f64, f64)>;

/// Tables 4 and 5 are of this network.
const METHOD_TABLES_ARCH: &str = "resnet50";

/// Table 4: localization.
pub fn localization() -> Result<Published> {
    by_method(include_str!("../../data/paper/table4_localization.csv"))
}

fn by_method(text: &str) -> Result<Published> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let row = |row: csv::Result<(String, String, String, f64, f64)>| {
        let (method, dataset, metric, baseline, s_ib) = row?;
        let arch = METHOD_TABLES_ARCH.to_owned();
        Ok((Key { arch, dataset, method, metric }, (baseline, s_ib)))
    };
    reader.deserialize().map(row).collect::<Result<_>>().context("the paper's table is damaged")
}
