//! Paths within a folder that is written to. The folder may be a stranger's.

use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow};

use crate::error::with_hint;

/// Checks that `path` is no link: what is written through one lands, or is removed, elsewhere.
///
/// # Errors
/// When it is one.
pub fn expect_no_link(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink()) {
        let error = anyhow!("{}: a link, which could lead anywhere", path.display());
        return Err(with_hint(error, "put what it leads to in its place"));
    }
    Ok(())
}

/// As [`expect_no_link`], for what must be a file where it is there.
///
/// # Errors
/// When it is a link, a folder, a pipe or a device.
pub fn expect_file(path: &Path) -> Result<()> {
    expect_no_link(path)?;
    if fs::symlink_metadata(path).is_ok_and(|it| !it.is_file()) {
        return Err(anyhow!("{}: not a plain file", path.display()));
    }
    Ok(())
}
