//! Finds finished evaluations below a folder.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::csv_rows;
use crate::evaluation::folder::{DESCRIPTION, Description, SUMMARY};
use crate::evaluation::summary_row::SummaryRow;
use crate::left_out::LeftOut;
use crate::tree;

/// A finished evaluation.
#[derive(Debug)]
pub struct Evaluation {
    /// Its folder.
    pub path: PathBuf,
    /// What it is of.
    pub description: Description,
    /// The rows of `summary.csv`.
    pub summary: Vec<SummaryRow>,
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
/// When a folder cannot be read.
pub fn find(root: &Path, left_out: &mut LeftOut) -> Result<Found> {
    Ok(among(&tree::folders(root)?, left_out))
}

/// The evaluations that are among `folders`.
pub fn among(folders: &[PathBuf], left_out: &mut LeftOut) -> Found {
    let mut found = Found::default();
    for folder in folders {
        if !folder.join(DESCRIPTION).is_file() {
            continue;
        } else if folder.join(SUMMARY).is_file() {
            found.evaluations.extend(left_out.read(read(folder)));
        } else {
            found.unfinished.push(folder.clone());
        }
    }
    found
}

fn read(folder: &Path) -> Result<Evaluation> {
    Ok(Evaluation {
        path: folder.to_owned(),
        description: Description::read(folder)?,
        summary: csv_rows::read(&folder.join(SUMMARY))?,
    })
}
