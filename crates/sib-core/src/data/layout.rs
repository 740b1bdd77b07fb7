//! Files and folders of an unpacked archive.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Fails unless all of `parts` exist under `root`; the message lists the layout and what is there.
pub(super) fn require_layout(root: &Path, layout: &str, parts: &[&str]) -> Result<()> {
    let missing: Vec<&str> =
        parts.iter().copied().filter(|part| !root.join(part).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let found = match list(root) {
        Err(_) if !root.exists() => "no such folder".to_owned(),
        Err(_) => "not a folder".to_owned(),
        Ok(entries) if entries.is_empty() => "an empty folder".to_owned(),
        Ok(entries) => {
            let more = if entries.len() > 8 { ", ..." } else { "" };
            let names: Vec<_> = entries.iter().take(8).map(|path| file_name(path)).collect();
            names.join(", ") + more
        }
    };
    Err(Error::malformed(
        root,
        format!("{} missing; expected {layout}; found {found}", missing.join(", ")),
    ))
}

/// The entries of a folder in the order of their names.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>())
        .map_err(Error::io("read", folder))?;
    entries.sort();
    Ok(entries)
}

/// The last part of a path, for labels and ids.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The text of a file.
pub(super) fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(Error::io("read", path))
}
