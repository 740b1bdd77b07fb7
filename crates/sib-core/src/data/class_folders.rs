//! Layouts in which a folder is a class.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::files::{self, Found, is_hidden};
use super::layout::{file_name, list};
use crate::Result;

/// The names of the sub-folders of all of `folders` that exist, sorted: the classes of all splits
/// together, so that labels agree between them. Hidden folders are no classes.
pub(super) fn classes(folders: &[PathBuf]) -> Result<Vec<String>> {
    let mut classes = BTreeSet::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let entries = list(folder)?;
        let folders = entries.iter().filter(|path| path.is_dir() && !is_hidden(path));
        classes.extend(folders.map(|path| file_name(path)));
    }
    Ok(classes.into_iter().collect())
}

/// An image of a class.
pub(super) struct Image {
    pub(super) label: usize,
    pub(super) path: PathBuf,
    /// The path from the root.
    pub(super) id: String,
}

/// The images of a split.
pub(super) struct Images {
    /// Class by class, as [`files::find`] orders them.
    pub(super) images: Vec<Image>,
    /// Whatever else lies in the split's folder, by its path from the root.
    pub(super) ignored: Vec<String>,
}

/// The images in `root/folder` of each of `classes`; none of a class without a folder there.
pub(super) fn images(root: &Path, folder: &str, classes: &[String]) -> Result<Images> {
    let split = root.join(folder);
    let found: Vec<Found> = classes
        .par_iter()
        .map(|class| {
            let folder = split.join(class);
            if folder.is_dir() { files::find(&folder) } else { Ok(Found::default()) }
        })
        .collect::<Result<_>>()?;
    let beside = list(&split)?.into_iter().filter(|path| !path.is_dir() && !is_hidden(path));
    let mut ignored: Vec<String> = beside.map(|path| files::relative(&path, root)).collect();
    let mut images = Vec::new();
    for (label, Found { images: paths, others }) in found.into_iter().enumerate() {
        ignored.extend(others.iter().map(|path| files::relative(path, root)));
        images.extend(paths.into_iter().map(|path| {
            let id = files::relative(&path, root);
            Image { label, path, id }
        }));
    }
    Ok(Images { images, ignored })
}
