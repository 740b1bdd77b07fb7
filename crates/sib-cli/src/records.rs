//! Typed rows in CSV records: the columns of a file are those of one row type, or of several side by
//! side.

use anyhow::{Context, Result};
use csv::StringRecord;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The columns of a row type.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// Their names in the file, in order.
    pub names: fn() -> StringRecord,
    /// The fields of the row in a record under a header that may have other columns too, or lack some;
    /// `None` where they are no row of this type.
    pub reread: fn(&StringRecord, &StringRecord) -> Option<StringRecord>,
}

impl Columns {
    /// Those of `R`, a struct whose fields are one column each.
    pub const fn of<R: Serialize + DeserializeOwned + Default>() -> Self {
        Self { names: names::<R>, reread: reread::<R> }
    }
}

fn names<R: Serialize + Default>() -> StringRecord {
    written(&R::default(), true).expect("a row type has a line of column names")
}

fn reread<R: Serialize + DeserializeOwned>(
    header: &StringRecord,
    record: &StringRecord,
) -> Option<StringRecord> {
    fields(&record.deserialize::<R>(Some(header)).ok()?).ok()
}

/// The fields of `row`.
///
/// # Errors
/// When it is not a struct of one field a column.
pub fn fields<R: Serialize>(row: &R) -> Result<StringRecord> {
    written(row, false)
}

/// What the CSV writer makes of `row`: the names of its fields, or their values.
fn written<R: Serialize>(row: &R, names: bool) -> Result<StringRecord> {
    let mut writer = csv::WriterBuilder::new().has_headers(names).from_writer(Vec::new());
    writer.serialize(row)?;
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
    reader.records().next().context("the row has no fields")?.map_err(Into::into)
}

/// Records under a common header.
#[derive(Debug, Clone, Copy)]
pub struct Table<'r> {
    /// Names of the columns.
    pub header: &'r StringRecord,
    /// One a row.
    pub records: &'r [StringRecord],
}

impl Table<'_> {
    /// The rows as far as `R` asks, which may be for a part of the columns.
    ///
    /// # Errors
    /// When a record is no `R`.
    pub fn rows<R: DeserializeOwned>(&self) -> Result<Vec<R>> {
        let row = |record: &StringRecord| record.deserialize(Some(self.header));
        Ok(self.records.iter().map(row).collect::<csv::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    struct Left {
        batch: usize,
        image: String,
    }

    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    struct Right {
        auc: Option<f64>,
        hit: Option<bool>,
        #[serde(default)]
        digest: Option<String>,
    }

    #[test]
    fn row_types_side_by_side_are_read_one_by_one() {
        let (left, right) = (Columns::of::<Left>(), Columns::of::<Right>());
        let header: StringRecord =
            (left.names)().iter().chain((right.names)().iter()).map(str::to_owned).collect();
        assert_eq!(header, StringRecord::from(vec!["batch", "image", "auc", "hit", "digest"]));
        let a = Left { batch: 3, image: "a, \"b\"\n".to_owned() };
        let b = Right { auc: Some(1.0 / 3.0), ..Right::default() };
        let record: StringRecord = fields(&a)
            .unwrap()
            .iter()
            .chain(fields(&b).unwrap().iter())
            .map(str::to_owned)
            .collect();
        let table = Table { header: &header, records: std::slice::from_ref(&record) };
        assert_eq!(table.rows::<Left>().unwrap(), [a]);
        assert_eq!(table.rows::<Right>().unwrap(), [b]);
    }

    #[test]
    fn columns_may_be_in_another_order_or_missing_and_damage_is_no_row() {
        let header = StringRecord::from(vec!["hit", "auc"]);
        let reread = Columns::of::<Right>().reread;
        let row = reread(&header, &StringRecord::from(vec!["true", "0.5"])).unwrap();
        assert_eq!(row, StringRecord::from(vec!["0.5", "true", ""]));
        assert!(reread(&header, &StringRecord::from(vec!["maybe", "0.5"])).is_none());
        let short = StringRecord::from(vec!["auc"]);
        assert_eq!(reread(&short, &StringRecord::from(vec!["0.5"])).unwrap().len(), 3);
    }
}
