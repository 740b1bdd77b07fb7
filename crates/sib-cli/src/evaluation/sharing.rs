//! Processes that evaluate together: each measures some of the batches, the first one keeps them all, in their order.

use anyhow::{Context, Result};
use csv::StringRecord;
use serde::{Deserialize, Serialize};
use sib_core::group::Group;

use super::batch_log::BatchRows;
use super::logs::Measured;

/// A batch that was measured, and what is wrong with it in words.
#[derive(Debug)]
pub struct Batch {
    pub number: usize,
    pub measured: Measured,
    pub faults: Vec<String>,
}

/// Batches between processes.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Message {
    batches: Vec<Part>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Part {
    number: usize,
    images: Rows,
    suites: Vec<Rows>,
    faults: Vec<String>,
}

type Rows = Vec<Vec<String>>;

/// The batches of all processes by their number: with the first of them all, with the others none.
///
/// # Errors
/// Where another process does not take part.
pub fn gathered(group: &Group, own: Vec<Batch>) -> Result<Vec<Batch>> {
    if group.is_alone() {
        return Ok(own);
    }
    let own = Message { batches: own.into_iter().map(Part::from).collect() };
    let text = toml::to_string(&own).context("cannot write rows as TOML")?;
    let all = group.exchanged(text.as_bytes())?;
    if !group.is_first() {
        return Ok(Vec::new());
    }
    let mut batches = Vec::new();
    for bytes in all {
        let text = String::from_utf8(bytes).context("rows of another process")?;
        let Message { batches: more } = toml::from_str(&text).context("rows of another process")?;
        batches.extend(more.into_iter().map(Batch::from));
    }
    batches.sort_by_key(|batch| batch.number);
    Ok(batches)
}

/// What the first process knows of the batches: how many are done, and which are to be measured again.
///
/// # Errors
/// Where another process does not take part.
pub fn told(group: &Group, known: Option<(usize, Vec<usize>)>) -> Result<(usize, Vec<usize>)> {
    let (done, again) = known.unwrap_or_default();
    let own: Vec<String> = [done].iter().chain(&again).map(usize::to_string).collect();
    let mut all = group.exchanged(own.join(" ").as_bytes())?;
    let text = String::from_utf8(all.swap_remove(0)).context("the first process's batches")?;
    let mut numbers = text.split(' ').map(|number| number.parse::<usize>());
    let done = numbers.next().context("the first process's batches")??;
    Ok((done, numbers.collect::<Result<_, _>>()?))
}

impl From<Batch> for Part {
    fn from(Batch { number, measured: Measured { images, suites }, faults }: Batch) -> Self {
        let rows = |rows: BatchRows| -> Rows {
            rows.iter().map(|row| row.iter().map(str::to_owned).collect()).collect()
        };
        let suites = suites.into_iter().map(rows).collect();
        Self { number, images: rows(images), suites, faults }
    }
}

impl From<Part> for Batch {
    fn from(Part { number, images, suites, faults }: Part) -> Self {
        let rows = |rows: Rows| -> BatchRows { rows.into_iter().map(StringRecord::from).collect() };
        let suites = suites.into_iter().map(rows).collect();
        Self { number, measured: Measured { images: rows(images), suites }, faults }
    }
}
