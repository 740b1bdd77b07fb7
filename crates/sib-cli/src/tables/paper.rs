//! The paper's own figures.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use super::key::Key;
use super::number::{DIFFERENTIAL, Number};
use crate::network::Training;

/// Baseline and S-IB as published, by cell.
pub type Published = BTreeMap<Key, (f64, f64)>;

/// Tables 4 and 5 are of this network.
const METHOD_TABLES_ARCH: &str = "resnet50";

/// The figures of a table.
///
/// # Errors
/// When the table that comes with the program is damaged.
pub fn published(number: Number) -> Result<Published> {
    match number {
        Number::Two => accuracy(),
        Number::Three => information(),
        Number::Four => localization(),
        Number::Five => faithfulness(),
    }
}

fn accuracy() -> Result<Published> {
    let text = include_str!("../../data/paper/table2_accuracy.csv");
    let mut published = Published::new();
    for (dataset, arch, training, top1, top5) in read::<(String, String, String, f64, f64)>(text)? {
        for (metric, value) in [("top1", top1), ("top5", top5)] {
            let (arch, dataset, metric) = (arch.clone(), dataset.clone(), metric.to_owned());
            let key = key(arch, dataset, String::new(), metric);
            let pair = published.entry(key).or_default();
            if training == "baseline" {
                pair.0 = value;
            } else {
                pair.1 = value;
            }
        }
    }
    Ok(published)
}

fn information() -> Result<Published> {
    let text = include_str!("../../data/paper/table3_information_differential.csv");
    let rows = read::<(String, String, f64, f64)>(text)?;
    let cell = |(arch, dataset, baseline, s_ib): (String, String, f64, f64)| {
        let metric = DIFFERENTIAL.to_owned();
        (key(arch, dataset, String::new(), metric), (baseline, s_ib))
    };
    Ok(rows.into_iter().map(cell).collect())
}

fn localization() -> Result<Published> {
    by_method(include_str!("../../data/paper/table4_localization.csv"))
}

fn faithfulness() -> Result<Published> {
    by_method(include_str!("../../data/paper/table5_faithfulness.csv"))
}

fn by_method(text: &str) -> Result<Published> {
    let rows = read::<(String, String, String, f64, f64)>(text)?;
    let cell = |(method, dataset, metric, baseline, s_ib): (String, String, String, f64, f64)| {
        let arch = METHOD_TABLES_ARCH.to_owned();
        (key(arch, dataset, method, metric), (baseline, s_ib))
    };
    Ok(rows.into_iter().map(cell).collect())
}

fn key(arch: String, dataset: String, method: String, metric: String) -> Key {
    Key { arch, network: Training::SIb.into(), dataset, method, metric }
}

fn read<R: DeserializeOwned>(text: &str) -> Result<Vec<R>> {
    let rows = csv::Reader::from_reader(text.as_bytes()).into_deserialize().collect();
    let rows: csv::Result<Vec<R>> = rows;
    rows.context("the paper's table is damaged")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::tables::Number;

    #[test]
    fn every_published_figure_has_a_cell() {
        for (number, cells) in
            [(Number::Two, 40), (Number::Three, 12), (Number::Four, 63), (Number::Five, 42)]
        {
            let published = super::published(number).unwrap();
            assert_eq!(published.len(), cells, "{number:?}");
            let places: BTreeSet<_> = published.keys().map(|key| number.place(key)).collect();
            assert_eq!(places.len(), cells, "{number:?}");
            assert!(published.keys().all(|key| number.metric(&key.metric).is_some()));
            assert!(published.values().all(|&(a, b)| a > 0.0 && b > 0.0), "{number:?}");
        }
    }
}
