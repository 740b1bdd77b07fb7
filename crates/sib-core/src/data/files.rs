//! Which files of a folder are images.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Endings of files that are taken for images in a folder, in any case. What a file really is shows
/// when it is decoded.
pub const ENDINGS: [&str; 14] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm", "pbm",
    "pnm",
];

/// Whether a file's ending is one of [`ENDINGS`].
pub fn has_image_ending(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// Whether a file or folder is some program's own and no user's: a name that begins with a dot
/// (`.ipynb_checkpoints`, `._x.jpg`), and the folder `__MACOSX` that macOS puts into archives.
pub fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}

/// What lies in a folder and the folders below it, hidden names left out.
#[derive(Debug, Default)]
pub struct Found {
    /// Files with an image's ending, in the order of torchvision's `ImageFolder`: folder by folder
    /// in the order of their paths, in each by name.
    pub images: Vec<PathBuf>,
    /// All other files, and links to a folder that they lie in.
    pub others: Vec<PathBuf>,
}

/// Walks a folder; links are followed, as `ImageFolder` does.
///
/// # Errors
/// Where a folder cannot be read, or a name is not UTF-8: ids are text.
pub fn find(folder: &Path) -> Result<Found> {
    let mut found = Found::default();
    let mut above = HashSet::from([canonical(folder)?]);
    walk(folder, &mut above, &mut found)?;
    found.images.sort_by(|a, b| place(a).cmp(&place(b)));
    found.others.sort_by(|a, b| place(a).cmp(&place(b)));
    Ok(found)
}

/// The folder, as text, and the name: what files are ordered by.
fn place(path: &Path) -> (Option<&OsStr>, Option<&OsStr>) {
    (path.parent().map(Path::as_os_str), path.file_name())
}

/// `above` holds the folder and those that it was reached through.
fn walk(folder: &Path, above: &mut HashSet<PathBuf>, found: &mut Found) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let path = entry.path();
        if is_hidden(&path) {
            continue;
        }
        if path.to_str().is_none() {
            return Err(Error::malformed(path, "a name that is not UTF-8"));
        }
        let kind = entry.file_type().map_err(Error::io("read", &path))?;
        if !(kind.is_dir() || kind.is_symlink() && path.is_dir()) {
            if has_image_ending(&path) { &mut found.images } else { &mut found.others }.push(path);
            continue;
        }
        let real = canonical(&path)?;
        if above.insert(real.clone()) {
            walk(&path, above, found)?;
            above.remove(&real);
        } else {
            found.others.push(path);
        }
    }
    Ok(())
}

fn canonical(folder: &Path) -> Result<PathBuf> {
    folder.canonicalize().map_err(Error::io("read", folder))
}

/// The path of a file below `root`, its parts joined by `/`: what ids are made of.
pub(super) fn relative(path: &Path, root: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}
