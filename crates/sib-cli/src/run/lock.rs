//! One process at a time in an output folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Result, bail};
use sib_core::Error;

use crate::own_path::expect_file;

/// Keeps other processes out of a folder while it lives; the operating system lets go of it when
/// the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// The file that is locked, which stays.
    pub const NAME: &str = ".lock";

    /// Locks the folder at `path`, which must exist.
    ///
    /// # Errors
    /// When another process holds it, or no file can be made in it.
    pub fn hold(path: &Path) -> Result<Self> {
        let lock_path = path.join(Self::NAME);
        expect_file(&lock_path)?;
        let file = File::options().write(true).create(true).truncate(false).open(&lock_path);
        let file = file.map_err(Error::io("create", &lock_path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                bail!("{}: another process is writing to this folder", path.display())
            }
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &lock_path)(error).into()),
        }
    }
}
