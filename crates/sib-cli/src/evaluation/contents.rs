//! What the files held that rows were measured from. Identity is content: a row goes for the files as
//! they are now only while they hold what they held.
//!
//! A digest is the first 16 hexadecimal digits of the SHA-256 of all bytes of the image's file, of its
//! mask's where localization is measured, and of the heatmap's where it comes from a folder. Files that
//! are not there or cannot be read have none, nor have images that are made on demand.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use sib_core::data::{Dataset, MaskSource, Record, Source};

use super::heatmaps::file_of;
use super::image_row::{Digests, ImageRow};
use super::rows;
use super::settings::Settings;
use super::suite::Suite;
use crate::error::with_hint;
use crate::records::Table;

/// The files that an evaluation reads.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'e> {
    settings: &'e Settings,
    dataset: &'e Dataset,
}

impl<'e> Contents<'e> {
    /// Those of `dataset` as `settings` use it.
    pub fn new(settings: &'e Settings, dataset: &'e Dataset) -> Self {
        Self { settings, dataset }
    }

    /// What the files of each of `records` hold, once for each of `methods`.
    pub fn digests(&self, records: &[Record], methods: &[String]) -> Vec<Vec<Digests>> {
        let of_record = |record: &Record| {
            let image_digest = self.of_image(record);
            let of_method = |method: &String| Digests {
                image_digest: image_digest.clone(),
                heatmap_digest: self.of_heatmap(method, record),
            };
            methods.iter().map(of_method).collect()
        };
        records.par_iter().map(of_record).collect()
    }

    /// The batches among `rows`, those of all images measured so far, that hold an image or a heatmap
    /// that could not be used and is another now.
    ///
    /// # Errors
    /// When a file that was measured holds something else now.
    pub fn mended(&self, table: Table<'_>, methods: &[String]) -> Result<BTreeSet<usize>> {
        let rows = table.rows::<ImageRow>()?;
        let faults = rows::faults(table, &rows);
        let known = table.rows::<Digests>()?;
        let all: Vec<Known<'_>> = rows
            .iter()
            .zip(faults)
            .zip(&known)
            .map(|((row, fault), digests)| Known { row, is_faulty: fault.is_some(), digests })
            .collect();
        let mended: Vec<Option<usize>> = all
            .par_chunks(methods.len())
            .zip(&self.dataset.records)
            .map(|(rows, record)| self.is_mended(rows, record))
            .collect::<Result<_>>()?;
        Ok(mended.into_iter().flatten().collect())
    }

    /// The number of the batch, where one of the rows of `record` should be measured again.
    fn is_mended(&self, rows: &[Known<'_>], record: &Record) -> Result<Option<usize>> {
        let image = self.of_image(record);
        let mut again = None;
        for Known { row, is_faulty, digests } in rows {
            let heatmap = self.of_heatmap(&row.method, record);
            if *is_faulty {
                if digests.image_digest != image || digests.heatmap_digest != heatmap {
                    again = Some(row.batch);
                }
                continue;
            }
            // Earlier versions did not note what images held, nor does one made on demand.
            if digests.image_digest.is_some() && digests.image_digest != image {
                return Err(refused(format!(
                    "{}: the image or its mask has changed since it was measured",
                    row.image
                )));
            }
            if heatmap != digests.heatmap_digest {
                let what = match digests.heatmap_digest {
                    Some(_) => "has changed since it was measured",
                    None => "was measured by a version that did not note what it held",
                };
                return Err(refused(format!(
                    "{}: the heatmap of {} {what}",
                    row.image, row.method
                )));
            }
        }
        Ok(again)
    }

    fn of_image(&self, record: &Record) -> Option<String> {
        let mut digest = FileDigest::default();
        match &record.source {
            Source::File { path, .. } => digest.add(path)?,
            Source::Reader(reader) if reader.is_generated() => return None,
            Source::Reader(reader) => digest.0.update(reader.read().ok()?.as_raw()),
        }
        if self.settings.has(Suite::Localization)
            && let Some(MaskSource::File { path, .. }) = &record.mask
        {
            digest.add(path)?;
        }
        Some(digest.finish())
    }

    fn of_heatmap(&self, method: &str, record: &Record) -> Option<String> {
        let file: PathBuf = file_of(self.settings.heatmaps.get(method)?, &record.id)?;
        let mut digest = FileDigest::default();
        digest.add(&file)?;
        Some(digest.finish())
    }
}

/// A row and what is known of the files that it was measured from.
struct Known<'r> {
    row: &'r ImageRow,
    is_faulty: bool,
    digests: &'r Digests,
}

fn refused(why: String) -> anyhow::Error {
    with_hint(anyhow::anyhow!(why), "give another --output")
}

/// A SHA-256 of files one after the other.
#[derive(Default)]
struct FileDigest(Sha256);

impl FileDigest {
    fn add(&mut self, path: &Path) -> Option<()> {
        let bytes = fs::read(path).ok()?;
        // So that no byte can move from one file to the next.
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(&bytes);
        Some(())
    }

    fn finish(self) -> String {
        let mut text = format!("{:x}", self.0.finalize());
        text.truncate(16);
        text
    }
}
