//! Baseline and S-IB over the same images: a network that has no map of the hard ones is not compared
//! over the easy ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::evaluations::Evaluation;
use crate::csv_rows;
use crate::evaluation::folder::PER_IMAGE;
use crate::evaluation::record::ImageRow;
use crate::evaluation::settings::Suite;
use crate::evaluation::summary::summarise;

/// What two evaluations come to over the images that both have a map of.
#[derive(Debug, PartialEq)]
pub(super) struct Common {
    /// Number of these images.
    pub(super) images: u64,
    /// Number of images that either was asked about.
    pub(super) of: u64,
    /// Values of the baseline and of S-IB by the metrics' names in `summary.csv`.
    pub(super) values: [BTreeMap<String, f64>; 2],
}

/// Reads the rows of evaluations once each.
#[derive(Debug, Default)]
pub(super) struct Rows<'e> {
    read: BTreeMap<&'e Path, Vec<ImageRow>>,
}

impl<'e> Rows<'e> {
    /// Compares `pair`, baseline and S-IB, by the maps of `method` in `suite`; `None` where each has a map
    /// of every image, or of the same ones.
    ///
    /// # Errors
    /// When `per_image.csv` cannot be read or is damaged.
    pub(super) fn common(
        &mut self,
        pair: [&'e Evaluation; 2],
        suite: Suite,
        method: &str,
    ) -> Result<Option<Common>> {
        let is_complete = |evaluation: &Evaluation| {
            let rows = evaluation.summary.iter();
            let mut own = rows.filter(|row| row.suite == suite.name() && row.method == method);
            own.all(|row| row.excluded == 0)
        };
        if pair.into_iter().all(is_complete) {
            return Ok(None);
        }
        for evaluation in pair {
            if !self.read.contains_key(&*evaluation.path) {
                let rows = csv_rows::read(&evaluation.path.join(PER_IMAGE))?;
                self.read.insert(&evaluation.path, rows);
            }
        }
        let of_method = pair.map(|evaluation| -> Vec<&ImageRow> {
            let rows = self.read[&*evaluation.path].iter();
            rows.filter(|row| row.method == method).collect()
        });
        let measured = of_method.each_ref().map(|rows| -> BTreeSet<&str> {
            let with_value = rows.iter().filter(|row| has_value(row, suite));
            with_value.map(|row| row.image.as_str()).collect()
        });
        if measured[0] == measured[1] {
            return Ok(None);
        }
        let common: BTreeSet<&str> = measured[0].intersection(&measured[1]).copied().collect();
        let methods = [method.to_owned()];
        let values = |evaluation: &Evaluation, rows: &[&ImageRow]| {
            let rows = rows.iter().filter(|row| common.contains(row.image.as_str()));
            let rows: Vec<ImageRow> = rows.map(|&row| row.clone()).collect();
            let summary = summarise(&rows, &[], &methods, &evaluation.description);
            let of_suite = summary.into_iter().filter(|row| row.suite == suite.name());
            of_suite.filter_map(|row| Some((row.metric, row.value?))).collect()
        };
        Ok(Some(Common {
            images: common.len() as u64,
            of: of_method[0].len().max(of_method[1].len()) as u64,
            values: [values(pair[0], &of_method[0]), values(pair[1], &of_method[1])],
        }))
    }
}

/// Whether the heatmap of the row counts in the suite.
fn has_value(row: &ImageRow, suite: Suite) -> bool {
    match suite {
        Suite::Localization => row.confusion().is_some(),
        Suite::Faithfulness => row.insertion_auc.is_some() && row.deletion_auc.is_some(),
        _ => true,
    }
}
