//! Rows of CSV files that this program wrote, read whole or not at all.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use csv::{Error as CsvError, ErrorKind, StringRecord};
use serde::de::DeserializeOwned;
use sib_core::{Error, plain_file};

use crate::records::Table;

/// All rows of the file at `path`, but for a last line without its end: another process is
/// writing it.
///
/// # Errors
/// When the file cannot be read, or a line of it is damaged; the error names both.
pub fn read<R: DeserializeOwned>(path: &Path) -> Result<Vec<R>> {
    records(path)?.rows()
}

/// The records of the file at `path`, of which each may hold rows of several types.
///
/// # Errors
/// As [`read`], but for fields that are no values.
pub fn records(path: &Path) -> Result<Records> {
    let mut bytes = plain_file::read(path).map_err(Error::io("read", path))?;
    bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1));
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let header = named(path, reader.headers().cloned())?;
    let records = named(path, reader.records().collect())?;
    Ok(Records { path: path.to_owned(), header, records })
}

/// The records of one file.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    header: StringRecord,
    records: Vec<StringRecord>,
}

impl Records {
    /// The rows as far as `R` asks, which may be for a part of the columns.
    ///
    /// # Errors
    /// When a line holds no `R`; the error names file and line.
    pub fn rows<R: DeserializeOwned>(&self) -> Result<Vec<R>> {
        let row = |record: &StringRecord| record.deserialize(Some(&self.header));
        named(&self.path, self.records.iter().map(row).collect())
    }

    /// The records with their header.
    pub fn table(&self) -> Table<'_> {
        Table { header: &self.header, records: &self.records }
    }
}

fn named<T>(path: &Path, read: csv::Result<T>) -> Result<T> {
    read.map_err(|error| anyhow!("{}: {}", path.display(), in_words(&error)))
}

fn in_words(error: &CsvError) -> String {
    let line = error.position().map_or(String::new(), |at| format!("line {}: ", at.line()));
    let problem = match error.kind() {
        ErrorKind::Deserialize { err, .. } => err.to_string(),
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields, expected {expected_len}")
        }
        _ => error.to_string(),
    };
    line + &problem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<(String, f64)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, text).unwrap();
        read(&path).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn an_unfinished_line_is_left_out_and_a_damaged_one_named() {
        assert_eq!(rows("name,value\na,1.5\nb,2").unwrap(), [("a".to_owned(), 1.5)]);
        assert_eq!(rows("").unwrap(), []);
        let damaged = rows("name,value\na,1.5\nb,x\nc,3\n").unwrap_err();
        assert!(damaged.contains("rows.csv: line 3: "), "{damaged}");
        let short = rows("name,value\na,1.5\nb\n").unwrap_err();
        assert!(short.ends_with("rows.csv: line 3: 1 fields, expected 2"), "{short}");
    }
}
