//! The folder of an evaluation, whose [`files`](super::files) one process writes at a time.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sib_core::Error;
use sib_core::checkpoint::{remove_drafts, write_atomic};

use super::description::Description;
use super::files::{CLASSES, CONFUSION, CURVES, DESCRIPTION, PER_IMAGE, SUMMARY};
use super::identity;
use crate::error::with_hint;
use crate::run::FolderLock;

/// An evaluation's folder, held by this process alone.
#[derive(Debug)]
pub struct EvaluationDir {
    path: PathBuf,
    _lock: FolderLock,
}

impl EvaluationDir {
    /// A new folder at `path`, or that of the same evaluation, begun before.
    ///
    /// # Errors
    /// When another process holds it, it holds something else, or another evaluation.
    pub fn open(path: &Path, description: &Description) -> Result<Self> {
        let begun = path.join(DESCRIPTION).exists();
        // A process that was killed may have left its lock and a draft of the first file.
        let foreign = |entry: fs::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
        let holds_something = fs::read_dir(path)
            .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(foreign)));
        if !begun && holds_something {
            let error = anyhow::anyhow!(
                "{}: neither empty nor the folder of an evaluation",
                path.display()
            );
            return Err(with_hint(error, "give another --output"));
        }
        fs::create_dir_all(path).map_err(Error::io("create", path))?;
        let folder = Self { path: path.to_owned(), _lock: FolderLock::hold(path)? };
        remove_drafts(path, |_| true);
        if begun {
            let before = Description::read(path)
                .map_err(|error| with_hint(error, "give another --output"))?;
            match identity::expect_same(&before, description) {
                // Begun, but refused by its first batch: nothing would be mixed.
                Err(_) if folder.is_without_rows()? => folder.describe(description)?,
                other => other?,
            }
        } else {
            folder.describe(description)?;
        }
        Ok(folder)
    }

    /// Whether no image has been measured yet.
    fn is_without_rows(&self) -> Result<bool> {
        let path = self.file(PER_IMAGE);
        if !path.exists() {
            return Ok(true);
        }
        let file = File::open(&path).map_err(Error::io("read", &path))?;
        let second = BufReader::new(file).lines().nth(1).transpose();
        Ok(second.map_err(Error::io("read", &path))?.is_none())
    }

    fn describe(&self, description: &Description) -> Result<()> {
        let text = toml::to_string_pretty(description)
            .context("cannot write the evaluation's settings as TOML")?;
        self.write(DESCRIPTION, text.as_bytes())
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Removes what only a finished evaluation has.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn reopen(&self) -> Result<()> {
        for name in [SUMMARY, CLASSES, CONFUSION, CURVES] {
            let file = self.file(name);
            if file.is_file() {
                fs::remove_file(&file).map_err(Error::io("remove", &file))?;
            }
        }
        Ok(())
    }

    /// Writes a file of the folder atomically.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        Ok(write_atomic(&self.file(name), |file| file.write_all(content))?)
    }
}
