//! TOML files of a run, read whole or not at all.

use std::path::Path;

use anyhow::{Result, bail};
use serde::de::DeserializeOwned;
use sib_core::{Error, plain_file};

/// The file at `path`.
///
/// # Errors
/// When it cannot be read or is no `T`; the error names it and the line.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse(&plain_file::read_to_string(path).map_err(Error::io("read", path))?, path)
}

/// The `text` of the file at `path`.
///
/// # Errors
/// When it is no `T`; the error names the file and the line.
pub(super) fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    match toml::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) => {
            let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
            let line = 1 + before.matches('\n').count();
            bail!("{}: line {line}: {}", path.display(), error.message())
        }
    }
}
