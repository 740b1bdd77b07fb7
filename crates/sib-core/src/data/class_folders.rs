//! Layouts in which a folder is a class.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::layout::{file_name, list};
use crate::Result;

/// The names of the sub-folders of all of `folders` that exist, sorted: the classes of all splits
/// together, so that labels agree between them.
pub(super) fn classes(folders: &[&Path]) -> Result<Vec<String>> {
    let mut classes = BTreeSet::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        classes.extend(list(folder)?.iter().filter(|path| path.is_dir()).map(|p| file_name(p)));
    }
    Ok(classes.into_iter().collect())
}

/// The image files of a class in the order of their names; none where there is no such folder.
///
/// An image is a file whose ending, in any case, is `jpg`, `jpeg` or `png`; what it really is
/// shows when it is decoded.
pub(super) fn images(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut images = list(folder)?;
    images.retain(|path| {
        let ending = path.extension().unwrap_or_default();
        ["jpg", "jpeg", "png"].iter().any(|known| ending.eq_ignore_ascii_case(known))
    });
    Ok(images)
}
