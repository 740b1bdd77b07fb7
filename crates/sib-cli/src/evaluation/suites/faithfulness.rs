//! Suite faithfulness: insertion and deletion of pixels in the order of the heatmaps.

use anyhow::{Context, Result};
use csv::StringRecord;
use serde::{Deserialize, Serialize};
use sib_metrics::faithfulness::{Faithfulness as Scored, Perturber};

use super::curves::{self, CurveSums};
use super::definition::{
    Definition, Explained, Finished, Identity, Log, Logged, Measure, Opening, Scores,
};
use crate::evaluation::calibration::Temperatures;
use crate::evaluation::collector::Collector;
use crate::evaluation::files::CURVES;
use crate::evaluation::heatmaps::HeatmapSource;
use crate::evaluation::image_row::NO_DIRECTION;
use crate::evaluation::settings::Settings;
use crate::evaluation::suite::Suite;
use crate::records::{Columns, Table, fields};

/// Insertion and deletion of pixels in the order of the heatmaps.
#[derive(Debug)]
pub struct Faithfulness;

/// Its columns. All are empty where they were not asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Why the heatmap has no curves; empty where it has.
    pub faithfulness_excluded: Option<String>,
    /// Area under the insertion curve, in [0, 1].
    pub insertion_auc: Option<f64>,
    /// Area under the deletion curve, in [0, 1].
    pub deletion_auc: Option<f64>,
    /// The score of the clean image, which both curves have at one end.
    #[serde(default)]
    pub clean_probability: Option<f64>,
    /// At which the scores are probabilities; empty where they are the network's own.
    #[serde(default)]
    pub temperature: Option<f64>,
}

impl Row {
    fn without(why: &str) -> Self {
        Self { faithfulness_excluded: Some(why.to_owned()), ..Self::default() }
    }

    fn of(scored: &Scored, clean: f64, temperature: Option<f64>) -> Self {
        Self {
            faithfulness_excluded: None,
            insertion_auc: Some(scored.insertion.auc()),
            deletion_auc: Some(scored.deletion.auc()),
            clean_probability: Some(clean),
            temperature,
        }
    }

    fn reason(&self) -> &str {
        self.faithfulness_excluded.as_deref().unwrap_or_default()
    }
}

impl Definition for Faithfulness {
    fn needs_heatmaps(&self) -> bool {
        true
    }

    fn columns(&self) -> Option<Columns> {
        Some(Columns::of::<Row>())
    }

    fn log(&self) -> Option<Log> {
        Some(Log {
            file: "curve_sums.csv",
            columns: Columns::of::<CurveSums>(),
            is_whole: curves::are_whole,
        })
    }

    fn identity(&self, settings: &Settings) -> Identity {
        let protocol = &settings.faithfulness;
        let mut identity = vec![
            ("step_px", protocol.step_px.to_string()),
            ("insertion", protocol.insertion.to_string()),
            ("deletion", protocol.deletion.to_string()),
        ];
        if settings.calibrate {
            identity.push(("calibrate", "cross-fitted".to_owned()));
        }
        identity
    }

    fn open<'e>(&self, of: Opening<'e>) -> Result<Option<Box<dyn Measure + 'e>>> {
        let net = of.checkpoint.backbone.as_ref();
        let perturber = Perturber::new(net, of.settings.faithfulness.clone())?;
        Ok(Some(Box::new(Perturbing { perturber, temperatures: of.temperatures })))
    }

    fn measured(&self, images: Table<'_>) -> Result<Vec<bool>> {
        let has_both = |row: &Row| row.insertion_auc.is_some() && row.deletion_auc.is_some();
        Ok(images.rows()?.iter().map(has_both).collect())
    }

    fn summarise(&self, logged: &Logged<'_>, summary: &mut Collector<'_>) -> Result<()> {
        for (method, rows) in &logged.of_methods::<Row>()? {
            let mut mean = |metric: &str, value: fn(&Row) -> Option<f64>| {
                summary.mean(method, metric, rows, |row| value(row).ok_or_else(|| row.reason()));
            };
            mean("insertion_auc_pct", |row| Some(100.0 * row.insertion_auc?));
            mean("deletion_auc_pct", |row| Some(100.0 * row.deletion_auc?));
            mean("insertion_share_pct", |row| {
                Some(100.0 * row.insertion_auc? / row.clean_probability?)
            });
            mean("deletion_share_pct", |row| {
                Some(100.0 * row.deletion_auc? / row.clean_probability?)
            });
            if rows.iter().any(|(_, row)| row.temperature.is_some()) {
                mean("temperature", |row| row.temperature);
            }
        }
        Ok(())
    }

    fn files(&self, logged: &Logged<'_>, of: Finished<'_>) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let Some(sums) = logged.log(Suite::Faithfulness) else { return Ok(Vec::new()) };
        let step_px = of.settings.faithfulness.step_px;
        let pixels = of.crop_px * of.crop_px;
        let table = curves::to_csv(&sums.rows::<CurveSums>()?, logged.methods, pixels, step_px)?;
        Ok(vec![(CURVES, table)])
    }
}

#[derive(Debug)]
struct Perturbing<'e> {
    perturber: Perturber<'e>,
    temperatures: Option<Temperatures>,
}

impl Measure for Perturbing<'_> {
    /// Image by image: what the methods share is computed once.
    fn measure(&mut self, batch: &Explained<'_>) -> Result<Scores> {
        let mut curves = vec![Vec::new(); batch.sources.len()];
        let mut rows = Vec::with_capacity(batch.batch.len() * batch.sources.len());
        for (i, id) in batch.batch.ids.iter().enumerate() {
            let images = batch.batch.len();
            batch.progress.within(|| format!("insertion and deletion, {i} of the next {images}"));
            let temperature = self.temperatures.map(|of| of.of(batch.batch.indices[i]));
            let subject = self
                .perturber
                .subject_at(&batch.batch.images.get(i as i64), temperature.unwrap_or(1.0))
                .with_context(|| id.clone())?;
            let sources = batch.sources.iter().zip(batch.heatmaps).zip(&mut curves);
            for ((source, heatmaps), curves) in sources {
                if heatmaps.missing[i].is_some() {
                    rows.push(Row::default());
                    continue;
                }
                if heatmaps.undirected[i] {
                    rows.push(Row::without(NO_DIRECTION));
                    continue;
                }
                let scored = self
                    .perturber
                    .score(&subject, &heatmaps.maps.get(i as i64))
                    .with_context(|| format!("{id}: {}", source.name()))?;
                match scored {
                    Ok(scored) => {
                        rows.push(Row::of(&scored, subject.clean(), temperature));
                        curves.push(scored);
                    }
                    Err(exclusion) => rows.push(Row::without(exclusion.name())),
                }
            }
        }
        let log = log_of(batch.number, batch.sources, &curves)?;
        Ok(Scores { log, ..Scores::of_rows(&rows)? })
    }

    fn nothing(&self, number: usize, sources: &[HeatmapSource]) -> Result<Vec<StringRecord>> {
        log_of(number, sources, &vec![Vec::new(); sources.len()])
    }
}

/// The rows of `curve_sums.csv` of one batch, whose curves stand source by source.
fn log_of(
    number: usize,
    sources: &[HeatmapSource],
    curves: &[Vec<Scored>],
) -> Result<Vec<StringRecord>> {
    let mut rows = Vec::new();
    for (source, curves) in sources.iter().zip(curves) {
        for sums in CurveSums::of_batch(number, source.name(), curves)? {
            rows.push(fields(&sums)?);
        }
    }
    Ok(rows)
}
