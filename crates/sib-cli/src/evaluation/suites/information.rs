//! Suite information: what the regions of R tell of the regions of the images, batch by batch in
//! `information.csv`.

use anyhow::{Context, Result};
use csv::StringRecord;
use serde::{Deserialize, Serialize};
use sib_core::Error;
use sib_core::data::Dataset;
use sib_core::information::RegionInformation;
use sib_explain::SIbMaps;
use tch::{Kind, Tensor};

use super::definition::{Definition, Explained, Identity, Log, Logged, Measure, Opening, Scores};
use crate::error::usage;
use crate::evaluation::collector::Collector;
use crate::evaluation::heatmaps::HeatmapSource;
use crate::evaluation::image_row::NO_DIRECTION;
use crate::evaluation::settings::Settings;
use crate::evaluation::suite::Suite;
use crate::records::{Columns, fields};

/// What the regions of R tell of the regions of the image.
#[derive(Debug)]
pub struct Information;

/// Region information of one batch, by three measures. In the names of the columns `x` is the image,
/// `r` is R, `fg` and `bg` are the regions of each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Number of the batch, from 0.
    pub batch: usize,
    /// Images that were compared.
    pub images: usize,
    /// Why nothing was measured; empty where it was.
    pub excluded: Option<String>,
    /// HSIC of the foregrounds − HSIC of the backgrounds.
    pub hsic_difference: Option<f64>,
    /// Linear HSIC, biased estimator.
    pub hsic_x_fg_r_fg: Option<f64>,
    /// As above, of these regions.
    pub hsic_x_fg_r_bg: Option<f64>,
    /// As above, of these regions.
    pub hsic_x_bg_r_fg: Option<f64>,
    /// As above, of these regions.
    pub hsic_x_bg_r_bg: Option<f64>,
    /// Centred kernel alignment, in [0, 1].
    pub cka_x_fg_r_fg: Option<f64>,
    /// As above, of these regions.
    pub cka_x_fg_r_bg: Option<f64>,
    /// As above, of these regions.
    pub cka_x_bg_r_fg: Option<f64>,
    /// As above, of these regions.
    pub cka_x_bg_r_bg: Option<f64>,
    /// Matrix-based Rényi mutual information, in bits.
    pub renyi_bits_x_fg_r_fg: Option<f64>,
    /// As above, of these regions.
    pub renyi_bits_x_fg_r_bg: Option<f64>,
    /// As above, of these regions.
    pub renyi_bits_x_bg_r_fg: Option<f64>,
    /// As above, of these regions.
    pub renyi_bits_x_bg_r_bg: Option<f64>,
}

/// The value in one column.
type Column = fn(&Row) -> Option<f64>;

/// All measures by name.
pub const MEASURES: [(&str, Column); 13] = [
    ("hsic_difference", |row| row.hsic_difference),
    ("hsic_x_fg_r_fg", |row| row.hsic_x_fg_r_fg),
    ("hsic_x_fg_r_bg", |row| row.hsic_x_fg_r_bg),
    ("hsic_x_bg_r_fg", |row| row.hsic_x_bg_r_fg),
    ("hsic_x_bg_r_bg", |row| row.hsic_x_bg_r_bg),
    ("cka_x_fg_r_fg", |row| row.cka_x_fg_r_fg),
    ("cka_x_fg_r_bg", |row| row.cka_x_fg_r_bg),
    ("cka_x_bg_r_fg", |row| row.cka_x_bg_r_fg),
    ("cka_x_bg_r_bg", |row| row.cka_x_bg_r_bg),
    ("renyi_bits_x_fg_r_fg", |row| row.renyi_bits_x_fg_r_fg),
    ("renyi_bits_x_fg_r_bg", |row| row.renyi_bits_x_fg_r_bg),
    ("renyi_bits_x_bg_r_fg", |row| row.renyi_bits_x_bg_r_fg),
    ("renyi_bits_x_bg_r_bg", |row| row.renyi_bits_x_bg_r_bg),
];

/// The batch has fewer images than the others: all three measures depend on their number.
const SMALLER_BATCH: &str = "smaller_batch";
/// R or M is not finite.
const NON_FINITE: &str = "non_finite";

impl Row {
    /// A batch that is not compared with others, since it has fewer images.
    fn smaller(batch: usize, images: usize) -> Self {
        Self { batch, images, excluded: Some(SMALLER_BATCH.to_owned()), ..Self::default() }
    }

    /// Measures batch `batch` of `images` `[B,3,H,W]`, in f64: R is of the order of 1e-6.
    fn measure(batch: usize, images: &Tensor, maps: &SIbMaps) -> Result<Self> {
        let double = |x: &Tensor| x.to_kind(Kind::Double);
        let mask = double(&maps.mask).unsqueeze(1);
        let count = images.size()[0] as usize;
        let without = |reason: &str| {
            let excluded = Some(reason.to_owned());
            Ok(Self { batch, images: count, excluded, ..Self::default() })
        };
        if !bool::try_from(maps.directed.all())? {
            return without(NO_DIRECTION);
        }
        let measured = RegionInformation::measure(&double(images), &double(&maps.vjp), &mask);
        let information = match measured {
            Err(Error::NonFinite { .. }) => return without(NON_FINITE),
            Err(Error::Vanishing { .. }) => return without(NO_DIRECTION),
            other => other?,
        };
        let RegionInformation { hsic, cka, renyi_bits, .. } = information;
        Ok(Self {
            batch,
            images: count,
            excluded: None,
            hsic_difference: Some(information.difference()),
            hsic_x_fg_r_fg: Some(hsic[0][0]),
            hsic_x_fg_r_bg: Some(hsic[0][1]),
            hsic_x_bg_r_fg: Some(hsic[1][0]),
            hsic_x_bg_r_bg: Some(hsic[1][1]),
            cka_x_fg_r_fg: Some(cka[0][0]),
            cka_x_fg_r_bg: Some(cka[0][1]),
            cka_x_bg_r_fg: Some(cka[1][0]),
            cka_x_bg_r_bg: Some(cka[1][1]),
            renyi_bits_x_fg_r_fg: Some(renyi_bits[0][0]),
            renyi_bits_x_fg_r_bg: Some(renyi_bits[0][1]),
            renyi_bits_x_bg_r_fg: Some(renyi_bits[1][0]),
            renyi_bits_x_bg_r_bg: Some(renyi_bits[1][1]),
        })
    }
}

impl Definition for Information {
    fn needs_vjp(&self) -> bool {
        true
    }

    fn log(&self) -> Option<Log> {
        Some(Log {
            file: "information.csv",
            columns: Columns::of::<Row>(),
            is_whole: |table, _| table.records.len() == 1,
        })
    }

    fn identity(&self, settings: &Settings) -> Identity {
        // Every measure depends on the number of images, and on which are in one batch.
        vec![("batch_size", settings.batch_size.to_string()), ("seed", settings.seed.to_string())]
    }

    fn validate(&self, settings: &Settings, dataset: &Dataset) -> Result<()> {
        let whole = settings.batch_size.min(dataset.records.len());
        if whole < 2 {
            return Err(usage(format!(
                "suite information: got batches of {whole}, expected at least 2: it compares the images \
                 of a batch"
            )));
        }
        Ok(())
    }

    fn open<'e>(&self, of: Opening<'e>) -> Result<Option<Box<dyn Measure + 'e>>> {
        Ok(Some(Box::new(Comparing { full: of.full })))
    }

    fn summarise(&self, logged: &Logged<'_>, summary: &mut Collector<'_>) -> Result<()> {
        let batches = logged.log(Suite::Information).map(|table| table.rows::<Row>());
        let batches = batches.transpose()?.unwrap_or_default();
        for (name, measure) in MEASURES {
            summary.mean_of_batches(name, &batches, measure, |row| row.excluded.as_deref());
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Comparing {
    /// Images of a whole batch.
    full: usize,
}

impl Measure for Comparing {
    fn measure(&mut self, batch: &Explained<'_>) -> Result<Scores> {
        let row = if batch.batch.len() == self.full {
            let maps = batch.s_ib.context("R and M were not computed")?;
            Row::measure(batch.number, &batch.batch.images, maps)?
        } else {
            Row::smaller(batch.number, batch.batch.len())
        };
        Ok(Scores { log: vec![fields(&row)?], ..Scores::default() })
    }

    fn nothing(&self, number: usize, _: &[HeatmapSource]) -> Result<Vec<StringRecord>> {
        Ok(vec![fields(&Row::smaller(number, 0))?])
    }
}
