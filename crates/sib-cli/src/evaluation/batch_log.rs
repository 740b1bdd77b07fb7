//! A CSV file that grows batch by batch and survives being killed at any byte.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use csv::StringRecord;
use sib_core::Error;
use sib_core::checkpoint::write_atomic;

use crate::failpoint;
use crate::own_path::expect_file;
use crate::records::Table;

/// The rows of one batch.
pub type BatchRows = Vec<StringRecord>;

/// What a log holds.
pub struct Form<'f> {
    /// Names of the columns; the first holds the number of the batch, from 0.
    pub header: StringRecord,
    /// A record under another header, as earlier versions wrote it, under this one; `None` where it is
    /// no row of the log.
    pub reread: &'f dyn Fn(&StringRecord, &StringRecord) -> Option<StringRecord>,
    /// Whether rows are all that the batch of this number has.
    pub is_whole: &'f dyn Fn(usize, Table<'_>) -> bool,
}

/// Appends the rows of one batch at a time, in the order of the batches.
#[derive(Debug)]
pub struct BatchLog {
    path: PathBuf,
    file: File,
    header: StringRecord,
    /// Rows of all batches so far.
    records: Vec<StringRecord>,
    /// End of each batch: bytes of the file, rows.
    ends: Vec<(u64, usize)>,
}

impl BatchLog {
    /// Opens the file at `path`, or makes it, and finds the batches from 0 on that are whole. What
    /// follows them is kept until [`Self::truncate`], unless the file has the columns of an earlier
    /// version: then it is written anew with those of today.
    ///
    /// # Errors
    /// When the file cannot be read or made.
    pub fn open(path: &Path, form: Form<'_>) -> Result<Self> {
        expect_file(path)?;
        let mut bytes = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            other => other.map_err(Error::io("read", path))?,
        };
        // A last line without its end may look whole and lack digits.
        bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1));
        let Form { header, reread, is_whole } = form;
        let parsed = Parsed::of(&bytes, reread);
        let mut ends: Vec<(u64, usize)> = Vec::new();
        let mut first = 0;
        for batch in parsed.records.chunk_by(|a, b| a[0] == b[0]) {
            let number = ends.len();
            let table = Table { header: &header, records: batch };
            if batch[0][0] != number.to_string() || !is_whole(number, table) {
                break;
            }
            first += batch.len();
            ends.push((parsed.ends[first - 1], first));
        }
        let mut records = parsed.records;
        records.truncate(first);
        let other_columns = !records.is_empty() && parsed.header != header;
        let file = appendable(path)?;
        let mut log = Self { path: path.to_owned(), file, header, records, ends };
        if other_columns {
            log.rewrite()?;
        }
        Ok(log)
    }

    /// Number of whole batches.
    pub fn batches(&self) -> usize {
        self.ends.len()
    }

    /// The rows of all whole batches.
    pub fn table(&self) -> Table<'_> {
        Table { header: &self.header, records: &self.records }
    }

    /// Cuts the file after its first `batches` batches.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn truncate(&mut self, batches: usize) -> Result<()> {
        self.ends.truncate(batches);
        let (bytes, rows) = self.ends.last().copied().unwrap_or_default();
        self.records.truncate(rows);
        Ok(self.file.set_len(bytes).map_err(Error::io("write", &self.path))?)
    }

    /// Appends the rows of the next batch and hands them to the disk.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn append(&mut self, batch: BatchRows) -> Result<()> {
        let start = self.ends.last().map_or(0, |end| end.0);
        let bytes = self.encode(&batch, start == 0)?;
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data())
            .map_err(Error::io("write", &self.path))?;
        failpoint::passed("rows");
        self.records.extend(batch);
        self.ends.push((start + bytes.len() as u64, self.records.len()));
        Ok(())
    }

    /// Puts other rows in the place of those of whole batches, by their numbers. The file holds either
    /// all former rows or all new ones.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn replace(&mut self, batches: Vec<(usize, BatchRows)>) -> Result<()> {
        let starts = |number: usize| number.checked_sub(1).map_or(0, |last| self.ends[last].1);
        let mut all: Vec<BatchRows> = Vec::with_capacity(self.ends.len());
        let mut rest = std::mem::take(&mut self.records);
        for number in (0..self.ends.len()).rev() {
            all.push(rest.split_off(starts(number)));
        }
        all.reverse();
        for (number, rows) in batches {
            all[number] = rows;
        }
        let mut end = 0;
        for (batch, known) in all.iter().zip(&mut self.ends) {
            end += batch.len();
            known.1 = end;
        }
        self.records = all.into_iter().flatten().collect();
        self.rewrite()
    }

    /// Writes the whole batches to a new file in place of the old one.
    fn rewrite(&mut self) -> Result<()> {
        let (mut bytes, mut first) = (Vec::new(), 0);
        let mut ends = Vec::with_capacity(self.ends.len());
        for &(_, end) in &self.ends {
            bytes.extend(self.encode(&self.records[first..end], first == 0)?);
            ends.push((bytes.len() as u64, end));
            first = end;
        }
        write_atomic(&self.path, |file| file.write_all(&bytes))?;
        // The old file is no longer the one of this name.
        self.file = appendable(&self.path)?;
        self.ends = ends;
        Ok(())
    }

    fn encode(&self, records: &[StringRecord], with_header: bool) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for record in with_header.then_some(&self.header).into_iter().chain(records) {
            writer
                .write_record(record)
                .with_context(|| format!("{}: bad row", self.path.display()))?;
        }
        let bytes = writer.into_inner();
        Ok(bytes.map_err(|error| Error::io("write", &self.path)(error.into_error()))?)
    }
}

fn appendable(path: &Path) -> Result<File> {
    let file = File::options().create(true).append(true).open(path);
    Ok(file.map_err(Error::io("write", path))?)
}

/// The rows of a CSV file up to the first that is damaged.
struct Parsed {
    header: StringRecord,
    records: Vec<StringRecord>,
    /// The byte after each.
    ends: Vec<u64>,
}

impl Parsed {
    fn of(
        bytes: &[u8],
        reread: &dyn Fn(&StringRecord, &StringRecord) -> Option<StringRecord>,
    ) -> Self {
        let (mut records, mut ends) = (Vec::new(), Vec::new());
        let mut reader = csv::Reader::from_reader(bytes);
        let header = reader.headers().cloned().unwrap_or_default();
        let mut record = StringRecord::new();
        while !header.is_empty() && reader.read_record(&mut record).unwrap_or(false) {
            let Some(row) = reread(&header, &record) else { break };
            records.push(row);
            ends.push(reader.position().byte());
        }
        Self { header, records, ends }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::records::{Columns, fields};

    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    struct Row {
        batch: usize,
        image: String,
        value: Option<f64>,
    }

    fn rows(batch: usize) -> Vec<Row> {
        (0..2)
            .map(|i| Row {
                batch,
                image: format!("a, \"{batch}\"\n{i}"),
                value: (i == 0).then_some(1.0 / (3 + batch) as f64),
            })
            .collect()
    }

    fn batch(number: usize) -> BatchRows {
        rows(number).iter().map(|row| fields(row).unwrap()).collect()
    }

    fn open_as(path: &Path, columns: Columns) -> BatchLog {
        let form = Form {
            header: (columns.names)(),
            reread: &columns.reread,
            is_whole: &|_, table| table.records.len() == 2,
        };
        BatchLog::open(path, form).unwrap()
    }

    fn open(path: &Path) -> BatchLog {
        open_as(path, Columns::of::<Row>())
    }

    #[test]
    fn cut_at_any_byte_it_goes_on_to_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let mut log = open(&path);
        (0..3).for_each(|i| log.append(batch(i)).unwrap());
        let whole = fs::read(&path).unwrap();
        let all: BatchRows = (0..3).flat_map(batch).collect();
        for length in 0..whole.len() {
            for damage in [&b""[..], b"\xff,\n", b"9,x"] {
                fs::write(&path, [&whole[..length], damage].concat()).unwrap();
                let mut log = open(&path);
                assert_eq!(log.table().records, &all[..2 * log.batches()]);
                log.truncate(log.batches()).unwrap();
                (log.batches()..3).for_each(|i| log.append(batch(i)).unwrap());
                assert_eq!(fs::read(&path).unwrap(), whole, "cut at {length}");
                assert_eq!(log.table().records, all);
            }
        }
    }

    #[test]
    fn other_rows_take_the_place_of_a_batch() {
        let folder = tempfile::tempdir().unwrap();
        let [through, mended] = ["a.csv", "b.csv"].map(|name| folder.path().join(name));
        let mut log = open(&through);
        (0..4).for_each(|i| log.append(batch(i)).unwrap());

        let mut log = open(&mended);
        let failed = |i| {
            let rows = rows(i).into_iter().map(|row| Row { value: None, ..row });
            rows.map(|row| fields(&row).unwrap()).collect()
        };
        for rows in [failed(0), batch(1), failed(2)] {
            log.append(rows).unwrap();
        }
        log.replace(vec![(2, batch(2)), (0, batch(0))]).unwrap();
        assert_eq!(log.table().records, (0..3).flat_map(batch).collect::<Vec<_>>());
        log.append(batch(3)).unwrap();
        assert_eq!(fs::read(&mended).unwrap(), fs::read(&through).unwrap());
        assert_eq!(open(&mended).batches(), 4);
    }

    #[test]
    fn a_file_with_fewer_columns_gets_those_of_today() {
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        struct Newer {
            batch: usize,
            image: String,
            value: Option<f64>,
            digest: Option<String>,
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let mut log = open(&path);
        (0..2).for_each(|i| log.append(batch(i)).unwrap());

        let mut log = open_as(&path, Columns::of::<Newer>());
        assert_eq!((log.batches(), log.table().records.len()), (2, 4));
        let digest = Some("0123".to_owned());
        let row = Newer { batch: 2, image: "x".to_owned(), value: None, digest };
        log.append(vec![fields(&row).unwrap(); 2]).unwrap();
        let log = open_as(&path, Columns::of::<Newer>());
        assert_eq!((log.batches(), &log.table().rows::<Newer>().unwrap()[5]), (3, &row));
    }

    #[test]
    fn batches_beyond_those_of_another_log_are_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let mut log = open(&path);
        log.append(batch(0)).unwrap();
        let one = fs::read(&path).unwrap();
        log.append(batch(1)).unwrap();
        log.truncate(1).unwrap();
        assert_eq!(fs::read(&path).unwrap(), one);
        log.truncate(0).unwrap();
        log.append(batch(0)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), one);
    }
}
