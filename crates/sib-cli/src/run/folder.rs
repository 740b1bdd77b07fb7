//! A run's folder, held by the process that trains in it.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use sib_core::Error;
use sib_core::checkpoint::{draft_of, remove_drafts, write_atomic};

use super::lock::FolderLock;
use super::tensorboard;
use crate::error::with_hint;
use crate::own_path::expect_no_link;

/// The resolved configuration.
pub const CONFIG: &str = "config.toml";
/// Folder of the checkpoints.
const CHECKPOINTS: &str = "checkpoints";
/// What the run began on.
pub const ENVIRONMENT: &str = "environment.toml";

/// A run's folder, held by this process alone.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    _lock: FolderLock,
}

impl RunDir {
    /// A new folder at `path`, which must not exist or be empty, but for what a run leaves that was ended before its
    /// configuration was there.
    ///
    /// # Errors
    /// When it holds something, or cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let is_of_another =
            |entry: io::Result<DirEntry>| !entry.is_ok_and(|it| is_of_a_beginning(&it));
        let holds_something =
            fs::read_dir(path).is_ok_and(|mut entries| entries.any(is_of_another));
        if holds_something {
            let error = anyhow::anyhow!("{}: the run folder is not empty", path.display());
            let hint = format!(
                "give another --output, or go on with the run: --resume {}",
                path.display()
            );
            return Err(with_hint(error, hint));
        }
        fs::create_dir_all(path.join(CHECKPOINTS)).map_err(Error::io("create", path))?;
        Self::hold(path)
    }

    /// The folder of a run that was interrupted.
    ///
    /// # Errors
    /// When it is no run folder, or another process holds it.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.join(CONFIG).is_file() {
            bail!("{}: not a run folder: it has no {CONFIG}", path.display());
        }
        Self::hold(path)
    }

    fn hold(path: &Path) -> Result<Self> {
        for folder in [CHECKPOINTS, tensorboard::FOLDER] {
            expect_no_link(&path.join(folder))?;
        }
        let run = Self { path: path.to_owned(), _lock: FolderLock::hold(path)? };
        [path.to_owned(), run.checkpoint("")].iter().for_each(|it| remove_drafts(it, |_| true));
        Ok(run)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of the checkpoints folder.
    pub fn checkpoint(&self, name: &str) -> PathBuf {
        checkpoint_of(&self.path, name)
    }

    /// Writes a text file of the folder atomically.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(write_atomic(&self.path.join(name), |file| file.write_all(text.as_bytes()))?)
    }
}

/// Whether a run makes this before its configuration, with which it can be resumed.
fn is_of_a_beginning(entry: &DirEntry) -> bool {
    match &*entry.file_name().to_string_lossy() {
        FolderLock::NAME | ENVIRONMENT => true,
        CHECKPOINTS => fs::read_dir(entry.path()).is_ok_and(|mut saved| saved.next().is_none()),
        name => draft_of(name).is_some(),
    }
}

/// A file of the checkpoints folder of the run at `path`.
pub fn checkpoint_of(path: &Path, name: &str) -> PathBuf {
    path.join(CHECKPOINTS).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_process_and_one_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let run = RunDir::create(&path).unwrap();
        run.write(CONFIG, "").unwrap();
        let busy = RunDir::open(&path).unwrap_err().to_string();
        assert!(busy.contains("another process"), "{busy}");
        drop(run);
        let error = RunDir::create(&path).unwrap_err();
        assert!(format!("{error:#}").contains("not empty"), "{error:#}");
    }
}
