//! The folders below a folder.

use std::fs;
use std::path::{Path, PathBuf};

use sib_core::{Error, Result};

/// The folder at `root` and all folders below it, each before those in it, in the order of their
/// names; links are not followed.
///
/// # Errors
/// When a folder cannot be read.
pub fn folders(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    visit(root.to_owned(), &mut found)?;
    Ok(found)
}

fn visit(folder: PathBuf, found: &mut Vec<PathBuf>) -> Result<()> {
    let mut inside = Vec::new();
    for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
        let entry = entry.map_err(Error::io("read", &folder))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            inside.push(entry.path());
        }
    }
    inside.sort();
    found.push(folder);
    inside.into_iter().try_for_each(|folder| visit(folder, found))
}
