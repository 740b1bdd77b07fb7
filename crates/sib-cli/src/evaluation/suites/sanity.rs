//! Suite sanity: whether heatmaps change when the network's last layers are initialised anew (Adebayo
//! et al. 2018, arXiv:1810.03292).

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sib_core::Backbone;
use sib_explain::SIbMap;
use sib_metrics::rank::spearman;
use sib_metrics::{Exclusion, Outcome};
use sib_models::{Part, Precision};

use super::definition::{Definition, Explained, Identity, Logged, Measure, Opening, Scores};
use crate::evaluation::collector::Collector;
use crate::evaluation::heatmaps::{HeatmapSource, Heatmaps};
use crate::evaluation::image_row::NO_DIRECTION;
use crate::evaluation::settings::Settings;
use crate::records::Columns;

/// Whether heatmaps change when the network's last layers are initialised anew.
#[derive(Debug)]
pub struct Sanity;

/// Its columns. All are empty where they were not asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Why a rank correlation is missing, of the first that is; empty where both are there.
    pub sanity_excluded: Option<String>,
    /// Rank correlation with the heatmap after the head was initialised anew.
    pub rank_correlation_head: Option<f64>,
    /// The same after head and last stage.
    pub rank_correlation_last_stage: Option<f64>,
}

/// The heatmap is not one of this program's, so that it cannot be made again.
const NO_EXPLAINER: &str = "no_explainer";

impl Row {
    fn of(head: Outcome<f64>, last_stage: Outcome<f64>, undirected: bool) -> Self {
        let why = head.err().or(last_stage.err()).map(Exclusion::name);
        let why = if undirected { Some(NO_DIRECTION) } else { why };
        Self {
            sanity_excluded: why.map(str::to_owned),
            rank_correlation_head: head.ok(),
            rank_correlation_last_stage: last_stage.ok(),
        }
    }

    fn reason(&self) -> &str {
        self.sanity_excluded.as_deref().unwrap_or_default()
    }
}

impl Definition for Sanity {
    fn needs_heatmaps(&self) -> bool {
        true
    }

    fn columns(&self) -> Option<Columns> {
        Some(Columns::of::<Row>())
    }

    fn identity(&self, settings: &Settings) -> Identity {
        vec![("layers_seed", settings.seed.to_string())]
    }

    fn open<'e>(&self, of: Opening<'e>) -> Result<Option<Box<dyn Measure + 'e>>> {
        let drawn = |part| -> Result<_> {
            let model = of.checkpoint.model.reinitialised(part, of.settings.seed)?;
            Ok(model.inference_form(Precision::F32))
        };
        let (head, last_stage) = (drawn(Part::Head)?, drawn(Part::LastStage)?);
        Ok(Some(Box::new(Comparing { head, last_stage, s_ib_map: of.s_ib_map })))
    }

    fn summarise(&self, logged: &Logged<'_>, summary: &mut Collector<'_>) -> Result<()> {
        for (method, rows) in &logged.of_methods::<Row>()? {
            summary.mean(method, "rank_correlation_head", rows, |row| {
                row.rank_correlation_head.ok_or_else(|| row.reason())
            });
            summary.mean(method, "rank_correlation_last_stage", rows, |row| {
                row.rank_correlation_last_stage.ok_or_else(|| row.reason())
            });
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Comparing<'e> {
    /// The network with a new head.
    head: Box<dyn Backbone>,
    /// The network with a new head and a new last stage.
    last_stage: Box<dyn Backbone>,
    s_ib_map: &'e SIbMap,
}

impl Measure for Comparing<'_> {
    fn measure(&mut self, batch: &Explained<'_>) -> Result<Scores> {
        let pairs = batch.sources.iter().zip(batch.heatmaps);
        let by_source = pairs.map(|(source, heatmaps)| self.compare(batch, source, heatmaps));
        Scores::of_rows(&batch.by_image(by_source.collect::<Result<_>>()?))
    }
}

impl Comparing<'_> {
    fn compare(
        &self,
        batch: &Explained<'_>,
        source: &HeatmapSource,
        heatmaps: &Heatmaps,
    ) -> Result<Vec<Row>> {
        if matches!(source, HeatmapSource::Folder(..)) {
            let excluded = Some(NO_EXPLAINER.to_owned());
            return Ok(vec![
                Row { sanity_excluded: excluded, ..Row::default() };
                batch.batch.len()
            ]);
        }
        let correlations = |net: &dyn Backbone| -> Result<_> {
            let images = &batch.batch.images;
            let maps = || self.s_ib_map.maps(net, images);
            let s_ib = matches!(source, HeatmapSource::SIbMap).then(maps).transpose()?;
            let other = source.of(net, images, batch.targets, &batch.batch.ids, s_ib.as_ref())?;
            Ok(spearman(&heatmaps.maps, &other.maps)?)
        };
        let head = correlations(self.head.as_ref())?;
        let last_stage = correlations(self.last_stage.as_ref())?;
        let both = head.into_iter().zip(last_stage).zip(&heatmaps.undirected);
        Ok(both
            .map(|((head, last_stage), &undirected)| Row::of(head, last_stage, undirected))
            .collect())
    }
}
