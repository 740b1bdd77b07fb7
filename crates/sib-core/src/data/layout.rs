//! Files and folders of an unpacked archive.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::{Error, Result, plain_file};

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

/// The text of a file, whatever byte-order mark it begins with.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let bytes = plain_file::read(path).map_err(Error::io("read", path))?;
    text(&bytes).ok_or_else(|| Error::malformed(path, "no text in UTF-8 or, marked, in UTF-16"))
}

/// The text of a file's bytes: UTF-8, with or without a byte-order mark, or UTF-16 with one, as
/// Windows' editors and Excel write; `None` where it is neither.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let utf_16 = |bytes: &[u8], word: fn([u8; 2]) -> u16| {
        let (words, rest) = bytes.as_chunks::<2>();
        let words: Vec<u16> = words.iter().copied().map(word).collect();
        rest.is_empty().then(|| String::from_utf16(&words).ok())?
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => std::str::from_utf8(rest).ok().map(str::to_owned),
    }
}

/// Where the only column of this name is in the header of a CSV file, which should have the columns `all`.
pub(super) fn column_of(
    header: &csv::StringRecord,
    column: &str,
    all: &[&str],
) -> Result<usize, String> {
    let mut places = header.iter().enumerate().filter(|(_, name)| *name == column);
    match (places.next(), places.next()) {
        (Some((place, _)), None) => Ok(place),
        _ => {
            let header = header.iter().collect::<Vec<_>>().join(",");
            Err(format!("header {header}, expected {}", all.join(",")))
        }
    }
}

/// Fails where two of `names` are the same: `what` they are, and the first that occurs again.
pub(super) fn expect_distinct<'n>(
    what: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<(), String> {
    let mut seen = HashSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(format!("{what} \"{name}\" is there twice")),
        None => Ok(()),
    }
}

/// The class names by their numbers.
///
/// # Errors
/// Where one number has two names: two classes would become one.
pub(super) fn names_by_id<'n, I: Ord + Copy + Display>(
    lines: impl IntoIterator<Item = (I, &'n str)>,
) -> Result<BTreeMap<I, String>, String> {
    let mut names: BTreeMap<I, String> = BTreeMap::new();
    for (id, name) in lines {
        let known = names.entry(id).or_insert_with(|| name.to_owned());
        if known != name {
            return Err(format!("class {id} is both \"{known}\" and \"{name}\""));
        }
    }
    Ok(names)
}
