//! A baseline and another network over the same images: a network that has no map of the hard ones is not compared
//! over the easy ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use csv::StringRecord;

use crate::evaluation::image_row::ImageRow;
use crate::evaluation::suite::Suite;
use crate::evaluation::suites::Logged;
use crate::evaluation::summary::of_suite;
use crate::records::Table;
use crate::results::Evaluation;

/// What two evaluations come to over the images that both have a map of.
#[derive(Debug, PartialEq)]
pub(super) struct Common {
    /// Number of these images.
    pub(super) images: u64,
    /// Number of images that either was asked about.
    pub(super) of: u64,
    /// Values of the baseline and of the other by the metrics' names in `summary.csv`.
    pub(super) values: [BTreeMap<String, f64>; 2],
}

/// Reads the rows of evaluations once each.
#[derive(Debug, Default)]
pub(super) struct Rows<'e> {
    read: BTreeMap<&'e Path, OfImages>,
}

impl<'e> Rows<'e> {
    /// Compares `pair`, the baseline first, by the maps of `method` in `suite`; `None` where each has a map
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
                self.read.insert(&evaluation.path, OfImages::read(evaluation)?);
            }
        }
        let of_method = pair.map(|evaluation| self.read[&*evaluation.path].of_method(method));
        let measured = [of_method[0].measured(suite)?, of_method[1].measured(suite)?];
        if measured[0] == measured[1] {
            return Ok(None);
        }
        let common: BTreeSet<String> = measured[0].intersection(&measured[1]).cloned().collect();
        let methods = [method.to_owned()];
        let values =
            |evaluation: &Evaluation, images: &OfImages| -> Result<BTreeMap<String, f64>> {
                let images = images.only(|row| common.contains(&row.image));
                let logged = images.logged(&methods);
                let summary = of_suite(suite, &logged, &evaluation.description)?;
                Ok(summary.into_iter().filter_map(|row| Some((row.metric, row.value?))).collect())
            };
        Ok(Some(Common {
            images: common.len() as u64,
            of: of_method[0].rows.len().max(of_method[1].rows.len()) as u64,
            values: [values(pair[0], &of_method[0])?, values(pair[1], &of_method[1])?],
        }))
    }
}

/// The rows of `per_image.csv`, or some of them.
#[derive(Debug)]
struct OfImages {
    header: StringRecord,
    records: Vec<StringRecord>,
    rows: Vec<ImageRow>,
}

impl OfImages {
    fn read(evaluation: &Evaluation) -> Result<Self> {
        let images = evaluation.images()?;
        let Table { header, records } = images.table();
        Ok(Self { header: header.clone(), records: records.to_vec(), rows: images.rows()? })
    }

    fn of_method(&self, method: &str) -> Self {
        self.only(|row| row.method == method)
    }

    fn only(&self, is_wanted: impl Fn(&ImageRow) -> bool) -> Self {
        let both = self.rows.iter().zip(&self.records);
        let (rows, records) =
            both.filter(|(row, _)| is_wanted(row)).map(|(a, b)| (a.clone(), b.clone())).unzip();
        Self { header: self.header.clone(), records, rows }
    }

    fn table(&self) -> Table<'_> {
        Table { header: &self.header, records: &self.records }
    }

    fn logged<'r>(&'r self, methods: &'r [String]) -> Logged<'r> {
        Logged { images: self.table(), rows: &self.rows, methods, logs: &[] }
    }

    /// The images whose heatmaps count in the suite.
    fn measured(&self, suite: Suite) -> Result<BTreeSet<String>> {
        let measured = suite.definition().measured(self.table())?;
        let counts = self.rows.iter().zip(measured).filter(|(_, measured)| *measured);
        Ok(counts.map(|(row, _)| row.image.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::description::Description;
    use crate::evaluation::files::{DESCRIPTION, PER_IMAGE, SUMMARY};
    use crate::evaluation::image_row::Digests;
    use crate::evaluation::rows;
    use crate::evaluation::suites::faithfulness;
    use crate::evaluation::summary::summarise;
    use crate::evaluation::summary_row;
    use crate::network::Training;
    use crate::records::fields;
    use crate::tables::cell::CellSummary;
    use crate::tables::{Number, build};

    /// `evaluation.toml` of the training, as far as a table reads it.
    fn description(training: Training) -> Description {
        let text =
            include_str!("../../tests/data/evaluation.toml").replace("TRAINING", training.name());
        toml::from_str(&text).unwrap()
    }

    /// A finished evaluation whose maps of the images have these insertion AUCs, and deletion AUCs of 1 less
    /// that; none of those that it has no map of.
    fn write(folder: &Path, training: Training, insertion: &[Option<f64>]) {
        std::fs::create_dir_all(folder).unwrap();
        let description = description(training);
        let records: Vec<StringRecord> = (0..)
            .zip(insertion)
            .map(|(number, auc): (usize, &Option<f64>)| {
                let row = ImageRow {
                    image: format!("{number}.jpg"),
                    method: "grad-cam".to_owned(),
                    ..ImageRow::default()
                };
                let scored = faithfulness::Row {
                    faithfulness_excluded: auc.is_none().then(|| "flat_heatmap".to_owned()),
                    insertion_auc: *auc,
                    deletion_auc: auc.map(|auc| 1.0 - auc),
                    clean_probability: auc.map(|_| 1.0),
                    temperature: None,
                };
                let scores = [(Suite::Faithfulness, fields(&scored).unwrap())];
                rows::record(&row, &scores, &Digests::default()).unwrap()
            })
            .collect();
        let header = rows::header();
        let mut writer = csv::Writer::from_path(folder.join(PER_IMAGE)).unwrap();
        [&header].into_iter().chain(&records).for_each(|row| writer.write_record(row).unwrap());
        writer.flush().unwrap();
        let rows = Table { header: &header, records: &records }.rows().unwrap();
        let images = OfImages { header, records, rows };
        let methods = ["grad-cam".to_owned()];
        let summary = summarise(&images.logged(&methods), &description).unwrap();
        let summary = summary_row::to_csv(&summary).unwrap();
        std::fs::write(folder.join(SUMMARY), summary).unwrap();
        let text = toml::to_string(&description).unwrap();
        std::fs::write(folder.join(DESCRIPTION), text).unwrap();
    }

    fn read(folder: &Path) -> Evaluation {
        Evaluation::read(folder).unwrap()
    }

    fn insertion(baseline: &[Option<f64>], s_ib: &[Option<f64>]) -> (CellSummary, Option<String>) {
        let root = tempfile::tempdir().unwrap();
        let folders = [root.path().join("a"), root.path().join("b")];
        write(&folders[0], Training::Baseline, baseline);
        write(&folders[1], Training::SIb, s_ib);
        let evaluations = folders.each_ref().map(|folder| read(folder));
        let table = build(Number::Five, &evaluations).unwrap();
        let cell = table.cells.iter().find(|(key, _)| key.metric == "insertion_auc").unwrap().1;
        (cell.summary(), cell.note("S-IB"))
    }

    #[test]
    fn an_image_without_a_map_of_one_network_counts_for_neither() {
        // S-IB has no map of the hard image: over its own images it would be 20 points better.
        let (summary, note) =
            insertion(&[Some(0.8), Some(0.6), Some(0.1)], &[Some(0.8), Some(0.6), None]);
        assert!((summary.baseline.unwrap() - 70.0).abs() < 1e-12, "{summary:?}");
        assert!(summary.difference.unwrap().abs() < 1e-12, "{summary:?}");
        assert_eq!(note.unwrap(), "over the 2 of 3 images that both networks have a map of");
        // Each lacks another one.
        let (summary, note) =
            insertion(&[None, Some(0.5), Some(0.25)], &[Some(0.9), Some(0.75), None]);
        assert!((summary.difference.unwrap() - 25.0).abs() < 1e-12, "{summary:?}");
        assert!(note.unwrap().starts_with("over the 1 of 3 images"));
    }

    #[test]
    fn where_both_have_maps_of_the_same_images_nothing_changes() {
        for missing in [None, Some(0.5)] {
            let (summary, note) = insertion(&[Some(0.25), missing], &[Some(0.5), missing]);
            assert!(summary.difference.unwrap() > 0.0);
            assert_eq!(note, None);
        }
        let (summary, note) = insertion(&[Some(0.25), None], &[None, Some(0.5)]);
        assert_eq!((summary.baseline, summary.other), (None, None));
        assert!(note.unwrap().contains("over the 0 of 2 images"));
    }
}
