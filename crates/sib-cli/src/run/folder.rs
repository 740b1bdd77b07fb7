//! A run's folder, held by the process that trains in it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use sib_core::Error;
use sib_core::checkpoint::write_atomic;

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
    /// A new folder at `path`, which must not exist or be empty.
    ///
    /// # Errors
    /// When it holds something, or cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let holds_something = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
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
        Ok(Self { path: path.to_owned(), _lock: FolderLock::hold(path)? })
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
