//! One file a command: its arguments and what it does.

pub mod bench;
pub mod compare;
pub mod data;
pub mod doctor;
pub mod evaluate;
pub mod explain;
pub mod figure;
mod found;
pub mod import;
pub mod init;
pub mod predict;
pub mod report;
pub mod reproduce;
pub mod shell;
pub mod table;
pub mod train;

use std::path::Path;

use anyhow::Result;
use sib_core::Error;
use sib_core::checkpoint::{remove_drafts, write_atomic};

use crate::error::usage;
use crate::note;

/// Checks that an output file's name ends as its content does.
fn expect_ending(flag: &str, path: &Path, endings: &[&str]) -> Result<()> {
    let ending = path.extension().unwrap_or_default();
    if endings.iter().any(|known| ending.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let expected: Vec<String> = endings.iter().map(|ending| format!(".{ending}")).collect();
    Err(usage(format!(
        "{flag} {}: expected a file that ends in {}",
        path.display(),
        expected.join(" or ")
    )))
}

/// Removes what processes that were killed left of an output file.
fn remove_drafts_of(path: &Path) {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    remove_drafts(folder.unwrap_or(Path::new(".")), |name| name == file);
}

/// Writes an output file whole, says so, and makes the folder that it goes into.
fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    remove_drafts_of(path);
    write_atomic(path, |file| file.write_all(content))?;
    note!("written: {}", path.display());
    Ok(())
}
