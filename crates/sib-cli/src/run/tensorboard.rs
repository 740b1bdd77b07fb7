//! TensorBoard event files: scalars only.
//!
//! A file is a sequence of TFRecords (length, its checksum, payload, its checksum), each holding a
//! protocol-buffer `Event`. Four fields of it are needed, so they are written by hand.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use sib_core::Error;

/// Folder of event files within a run.
pub(super) const FOLDER: &str = "tensorboard";

/// Writes one event file.
#[derive(Debug)]
pub struct EventFile {
    file: BufWriter<File>,
    path: PathBuf,
}

impl EventFile {
    /// A new event file in the run folder `run`, in place of those of earlier processes: whoever
    /// goes on with a run writes all of its metrics again, so that nothing is shown twice.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(run: &Path) -> Result<Self> {
        let folder = run.join(FOLDER);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("events.out.tfevents.") {
                fs::remove_file(entry.path()).map_err(Error::io("remove", &entry.path()))?;
            }
        }
        let path = folder.join(format!("events.out.tfevents.{:.0}.sib-cli", now()));
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        let mut events = Self { file: BufWriter::new(file), path };
        let mut version = Message::default();
        version.double(1, now());
        version.bytes(3, b"brain.Event:2");
        events.record(&version.0)?;
        Ok(events)
    }

    /// The value of the metric `tag` after update `step`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn scalar(&mut self, step: u64, tag: &str, value: f64) -> Result<()> {
        let mut scalar = Message::default();
        scalar.bytes(1, tag.as_bytes());
        scalar.float(2, value as f32);
        let mut summary = Message::default();
        summary.bytes(1, &scalar.0);
        let mut event = Message::default();
        event.double(1, now());
        event.varint(2, step);
        event.bytes(5, &summary.0);
        self.record(&event.0)
    }

    /// Hands everything to the disk: a run that has ended does not write them again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        let written = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        Ok(written.map_err(Error::io("write", &self.path))?)
    }

    fn record(&mut self, payload: &[u8]) -> Result<()> {
        write_record(&mut self.file, payload)
            .map_err(|error| Error::io("write", &self.path)(error).into())
    }
}

fn write_record(writer: &mut impl Write, payload: &[u8]) -> io::Result<()> {
    let length = (payload.len() as u64).to_le_bytes();
    writer.write_all(&length)?;
    writer.write_all(&masked_checksum(&length).to_le_bytes())?;
    writer.write_all(payload)?;
    writer.write_all(&masked_checksum(payload).to_le_bytes())
}

/// CRC-32C, rotated and shifted by a constant as TFRecords have it: a checksum of data that holds
/// its own checksum would otherwise be weak.
fn masked_checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// A protocol-buffer message: fields in their wire format.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Field number and wire type.
    fn key(&mut self, field: u64, wire_type: u64) {
        self.raw_varint(field << 3 | wire_type);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.raw_varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.raw_varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_what_tensorboard_writes() {
        let mut written = Vec::new();
        write_record(&mut written, b"tensor").unwrap();
        // By RecordWriter of the Python package tensorboard 2.20.
        let checksums: [&[u8]; 2] = [&[115, 105, 213, 55], &[167, 170, 157, 65]];
        let expected = [&[6, 0, 0, 0, 0, 0, 0, 0], checksums[0], b"tensor", checksums[1]].concat();
        assert_eq!(written, expected);
    }

    #[test]
    fn an_event_is_what_the_schema_says() {
        let mut event = Message::default();
        event.double(1, 1.5);
        event.varint(2, 300);
        event.bytes(3, b"ab");
        event.float(2, -2.0);
        let expected: &[u8] = &[
            0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, // field 1, 8 bytes
            0x10, 0xac, 0x02, // field 2, varint 300
            0x1a, 2, b'a', b'b', // field 3, 2 bytes
            0x15, 0, 0, 0, 0xc0, // field 2, 4 bytes
        ];
        assert_eq!(event.0, expected);
    }
}
