//! Finds finished evaluations below a folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sib_core::Error;

use crate::evaluation::folder::{DESCRIPTION, Description, SUMMARY};
use crate::evaluation::summary::MetricRow;

/// A finished evaluation.
#[derive(Debug)]
pub struct Evaluation {
    /// Its folder.
    pub path: PathBuf,
    /// What it is of.
    pub description: Description,
    /// The rows of `summary.csv`.
    pub summary: Vec<MetricRow>,
}

/// What [`find`] met.
#[derive(Debug, Default)]
pub struct Found {
    /// Finished evaluations, in the order of their paths.
    pub evaluations: Vec<Evaluation>,
    /// Folders of evaluations that were begun and not finished.
    pub unfinished: Vec<PathBuf>,
}

/// The evaluations in the folder at `root` and in all folders below it; links are not followed.
///
/// # Errors
/// When a folder cannot be read or an evaluation is damaged.
pub fn find(root: &Path) -> Result<Found> {
    let mut found = Found::default();
    visit(root, &mut found)?;
    Ok(found)
}

fn visit(folder: &Path, found: &mut Found) -> Result<()> {
    if folder.join(DESCRIPTION).is_file() {
        if folder.join(SUMMARY).is_file() {
            found.evaluations.push(read(folder)?);
        } else {
            found.unfinished.push(folder.to_owned());
        }
        return Ok(());
    }
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    folders.sort();
    folders.iter().try_for_each(|folder| visit(folder, found))
}

fn read(folder: &Path) -> Result<Evaluation> {
    let file = folder.join(SUMMARY);
    let damaged = || format!("{}: not the summary of an evaluation", file.display());
    let summary = csv::Reader::from_path(&file)
        .and_then(|mut reader| reader.deserialize().collect())
        .with_context(damaged)?;
    Ok(Evaluation { path: folder.to_owned(), description: Description::read(folder)?, summary })
}
