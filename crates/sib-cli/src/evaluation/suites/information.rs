//! Suite information: what the regions of R tell of the regions of the images, batch by batch in
//! `information.csv`.

use anyhow::{Context, Result};
use csv::StringRecord;
use sib_core::Error;
use sib_core::data::Dataset;
use sib_core::information::{RegionInformation, Regions};
use sib_explain::SIbMaps;
use sib_metrics::Summary;
use tch::{Kind, Tensor};

use super::definition::{Definition, Explained, Identity, Log, Logged, Measure, Opening, Scores};
use crate::error::usage;
use crate::evaluation::collector::Collector;
use crate::evaluation::heatmaps::HeatmapSource;
use crate::evaluation::image_row::NO_DIRECTION;
use crate::evaluation::settings::Settings;
use crate::evaluation::suite::Suite;
use crate::records::{Columns, Table, fields};

/// What the regions of R tell of the regions of the image.
#[derive(Debug)]
pub struct Information;

/// Region information of one batch, by four measures. In the names of the columns `x` is the image,
/// `r` is R, `fg` and `bg` are the regions of each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Number of the batch, from 0.
    pub batch: usize,
    /// Images that were compared.
    pub images: usize,
    /// Why nothing was measured; empty where it was.
    pub excluded: Option<String>,
    /// In the order of [`MEASURES`]; nothing where nothing was measured.
    pub values: [Value; MEASURES.len()],
}

/// A measure of one batch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Value {
    /// What it comes to.
    pub own: Option<f64>,
    /// Its mean over [`SHUFFLES`] random pairings of the images with each other's R.
    pub null_mean: Option<f64>,
    /// Its standard deviation over them.
    pub null_deviation: Option<f64>,
}

/// A name and the value that is called so.
type Named = (&'static str, fn(&RegionInformation) -> f64);

/// All measures by name. HSIC is linear, biased unless said otherwise.
pub const MEASURES: [Named; 17] = [
    ("hsic_difference", RegionInformation::difference),
    ("hsic_x_fg_r_fg", |it| it.hsic[0][0]),
    ("hsic_x_fg_r_bg", |it| it.hsic[0][1]),
    ("hsic_x_bg_r_fg", |it| it.hsic[1][0]),
    ("hsic_x_bg_r_bg", |it| it.hsic[1][1]),
    ("cka_x_fg_r_fg", |it| it.cka[0][0]),
    ("cka_x_fg_r_bg", |it| it.cka[0][1]),
    ("cka_x_bg_r_fg", |it| it.cka[1][0]),
    ("cka_x_bg_r_bg", |it| it.cka[1][1]),
    ("renyi_bits_x_fg_r_fg", |it| it.renyi_bits[0][0]),
    ("renyi_bits_x_fg_r_bg", |it| it.renyi_bits[0][1]),
    ("renyi_bits_x_bg_r_fg", |it| it.renyi_bits[1][0]),
    ("renyi_bits_x_bg_r_bg", |it| it.renyi_bits[1][1]),
    ("hsic_unbiased_x_fg_r_fg", |it| it.hsic_unbiased[0][0]),
    ("hsic_unbiased_x_fg_r_bg", |it| it.hsic_unbiased[0][1]),
    ("hsic_unbiased_x_bg_r_fg", |it| it.hsic_unbiased[1][0]),
    ("hsic_unbiased_x_bg_r_bg", |it| it.hsic_unbiased[1][1]),
];

/// How many random pairings a measure is compared with (decision I3).
pub const SHUFFLES: usize = 200;
/// Follows the name of a measure: its mean over random pairings.
pub const NULL: &str = "_null";
/// Follows the name of a measure: how many standard deviations of random pairings lie between these and it.
pub const Z: &str = "_z";
/// Follows the name of a measure: its standard deviation over random pairings.
const NULL_DEVIATION: &str = "_null_deviation";

/// A deviation from which on pairings differ. All measures are of the order of 1, computed in f64 from rows of unit
/// length: what is smaller is rounding, as between pairings of two images, which all give the same.
const RESOLUTION: f64 = 1e-12;

/// The batch has fewer images than the others: all measures depend on their number.
const SMALLER_BATCH: &str = "smaller_batch";
/// R or M is not finite.
const NON_FINITE: &str = "non_finite";

impl Row {
    /// A batch that is not compared with others, since it has fewer images.
    fn smaller(batch: usize, images: usize) -> Self {
        Self { batch, images, excluded: Some(SMALLER_BATCH.to_owned()), ..Self::default() }
    }

    /// Measures batch `batch` of `images` `[B,3,H,W]`, in f64: R is of the order of 1e-6. Random pairings follow from
    /// `seed`.
    fn measure(batch: usize, images: &Tensor, maps: &SIbMaps, seed: u64) -> Result<Self> {
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
        let regions = match Regions::new(&double(images), &double(&maps.vjp), &mask) {
            Err(Error::NonFinite { .. }) => return without(NON_FINITE),
            Err(Error::Vanishing { .. }) => return without(NO_DIRECTION),
            other => other?,
        };
        let own = regions.information()?;
        let shuffled = regions.shuffled(SHUFFLES, seed, batch as u64)?;
        let values = MEASURES.map(|(_, measure)| {
            let null: Summary = shuffled.iter().map(measure).collect();
            let known = |value: f64| value.is_finite().then_some(value);
            Value {
                own: known(measure(&own)),
                null_mean: null.mean().and_then(known),
                null_deviation: null.variance().map(f64::sqrt).and_then(known),
            }
        });
        Ok(Self { batch, images: count, excluded: None, values })
    }

    /// The columns of `information.csv`: what random pairings give stands behind all values.
    fn names() -> StringRecord {
        let own = MEASURES.iter().map(|(name, _)| (*name).to_owned());
        let null = MEASURES
            .iter()
            .flat_map(|(name, _)| [format!("{name}{NULL}"), format!("{name}{NULL_DEVIATION}")]);
        ["batch", "images", "excluded"]
            .map(str::to_owned)
            .into_iter()
            .chain(own)
            .chain(null)
            .collect()
    }

    fn record(&self) -> Result<StringRecord> {
        let own = self.values.iter().map(|value| value.own);
        let null = self.values.iter().flat_map(|value| [value.null_mean, value.null_deviation]);
        let numbers: Vec<Option<f64>> = own.chain(null).collect();
        fields(&(self.batch, self.images, &self.excluded, numbers))
    }

    /// The row of a record under a header that may lack columns of measures.
    fn of(header: &StringRecord, record: &StringRecord) -> Result<Self> {
        let field = |name: &str| {
            let place = header.iter().position(|column| column == name);
            place.and_then(|place| record.get(place)).unwrap_or_default()
        };
        let own: StringRecord = Self::names().iter().map(field).collect();
        let (batch, images, excluded, numbers): (_, _, _, Vec<Option<f64>>) =
            own.deserialize(None)?;
        let (own, null) = numbers.split_at(MEASURES.len());
        let values = std::array::from_fn(|place| Value {
            own: own[place],
            null_mean: null[2 * place],
            null_deviation: null[2 * place + 1],
        });
        Ok(Self { batch, images, excluded, values })
    }

    fn reread(header: &StringRecord, record: &StringRecord) -> Option<StringRecord> {
        Self::of(header, record).and_then(|row| row.record()).ok()
    }
}

/// Mean of the values of all batches by random pairings, and how many of their standard deviations the mean of the own
/// values lies above: pairings of one batch do not depend on those of another. Pairings that do not differ tell nothing.
fn against_null(values: &[Value]) -> [Option<f64>; 2] {
    let complete =
        values.iter().filter_map(|it| Some((it.own?, it.null_mean?, it.null_deviation?)));
    let (mut n, mut above, mut null, mut variance) = (0.0, 0.0, 0.0, 0.0);
    for (own, mean, deviation) in complete {
        n += 1.0;
        above += own - mean;
        null += mean;
        variance += deviation * deviation;
    }
    let deviation = variance.sqrt();
    [(n > 0.0).then_some(null / n), (deviation > RESOLUTION).then(|| above / deviation)]
}

impl Definition for Information {
    fn needs_vjp(&self) -> bool {
        true
    }

    fn log(&self) -> Option<Log> {
        Some(Log {
            file: "information.csv",
            columns: Columns { names: Row::names, reread: Row::reread },
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
        Ok(Some(Box::new(Comparing { full: of.full, seed: of.settings.seed })))
    }

    fn summarise(&self, logged: &Logged<'_>, summary: &mut Collector<'_>) -> Result<()> {
        let rows = |table: Table<'_>| -> Result<Vec<Row>> {
            table.records.iter().map(|record| Row::of(table.header, record)).collect()
        };
        let batches = logged.log(Suite::Information).map(rows).transpose()?.unwrap_or_default();
        fn excluded(row: &Row) -> Option<&str> {
            row.excluded.as_deref()
        }
        for (place, (name, _)) in MEASURES.into_iter().enumerate() {
            summary.mean_of_batches(name, &batches, |row| row.values[place].own, excluded);
        }
        for (place, (name, _)) in MEASURES.into_iter().enumerate() {
            let values: Vec<Value> = batches.iter().map(|row| row.values[place]).collect();
            for (ending, value) in [NULL, Z].into_iter().zip(against_null(&values)) {
                summary.of_all_batches(&format!("{name}{ending}"), value, &batches, excluded);
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Comparing {
    /// Images of a whole batch.
    full: usize,
    /// Of the random pairings.
    seed: u64,
}

impl Measure for Comparing {
    fn measure(&mut self, batch: &Explained<'_>) -> Result<Scores> {
        let row = if batch.batch.len() == self.full {
            let maps = batch.s_ib.context("R and M were not computed")?;
            Row::measure(batch.number, &batch.batch.images, maps, self.seed)?
        } else {
            Row::smaller(batch.number, batch.batch.len())
        };
        Ok(Scores { log: vec![row.record()?], ..Scores::default() })
    }

    fn nothing(&self, number: usize, _: &[HeatmapSource]) -> Result<Vec<StringRecord>> {
        Ok(vec![Row::smaller(number, 0).record()?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(own: f64, null_mean: f64, null_deviation: f64) -> Value {
        let [own, null_mean, null_deviation] = [own, null_mean, null_deviation].map(Some);
        Value { own, null_mean, null_deviation }
    }

    #[test]
    fn batches_together_are_as_far_from_chance_as_their_sum() {
        // 3 above in all, by a deviation of 5 = √(9 + 16).
        let values = [value(3.0, 1.0, 3.0), value(5.0, 4.0, 4.0), Value::default()];
        assert_eq!(against_null(&values), [Some(2.5), Some(0.6)]);
        assert_eq!(against_null(&[value(1.0, 1.0, 0.0)]), [Some(1.0), None]);
        assert_eq!(against_null(&[value(0.5, 0.5 - 1e-16, 3e-17)]), [Some(0.5 - 1e-16), None]);
        assert_eq!(against_null(&[]), [None, None]);
    }

    #[test]
    fn a_row_is_read_as_it_was_written_and_from_a_file_without_random_pairings() {
        let mut row = Row { batch: 3, images: 8, ..Row::default() };
        row.values = std::array::from_fn(|place| value(1.0 / (place + 1) as f64, -1e-7, 0.5));
        row.values[16] = Value::default();
        let (header, record) = (Row::names(), row.record().unwrap());
        assert_eq!(header.len(), record.len());
        assert_eq!(Row::of(&header, &record).unwrap(), row);
        assert_eq!(Row::reread(&header, &record).unwrap(), record);

        let former = |of: &StringRecord| of.iter().take(3 + 13).map(str::to_owned).collect();
        let read = Row::of(&former(&header), &former(&record)).unwrap();
        for (place, (read, written)) in read.values.iter().zip(&row.values).enumerate() {
            let own = if place < 13 { written.own } else { None };
            assert_eq!(*read, Value { own, ..Value::default() });
        }
        let excluded = Row::smaller(1, 4).record().unwrap();
        assert_eq!(Row::of(&header, &excluded).unwrap(), Row::smaller(1, 4));
        let damaged = StringRecord::from(vec!["0", "8", "", "nearly"]);
        assert!(Row::reread(&header, &damaged).is_none());
        assert!(Row::reread(&StringRecord::from(vec!["images"]), &damaged).is_none());
    }
}
