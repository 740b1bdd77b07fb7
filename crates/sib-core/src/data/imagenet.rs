//! ImageNet (Russakovsky et al. 2015, doi:10.1007/s11263-015-0816-y): `train/<wnid>/`,
//! `val/<wnid>/`, and VOC XML boxes in `bboxes/val/` and, optionally, `bboxes/train/<wnid>/`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::class_folders::{self, Image, Images};
use super::layout::{list, require_layout};
use super::{Dataset, DatasetName, Record, Source, Split, bbox, voc};
use crate::{Error, Result};

pub(super) const LAYOUT: &str = "train/<wnid>/*.JPEG, val/<wnid>/*.JPEG (sorted into folders), \
                                 bboxes/val/*.xml";

pub(super) fn open(root: &Path, split: Split) -> Result<Dataset> {
    let folder = match split {
        Split::Train => "train",
        Split::Test | Split::Validation => "val",
    };
    require_layout(root, LAYOUT, &[folder])?;
    let classes = class_folders::classes(&[root.join("train"), root.join("val")])?;
    if classes.is_empty() {
        return Err(Error::malformed(
            root.join(folder),
            format!("no class folders such as {folder}/n01440764; expected {LAYOUT}"),
        ));
    }
    let Images { images, ignored } = class_folders::images(root, folder, &classes)?;
    let annotations = Annotations::list(root, folder, &classes)?;
    let records = images
        .into_par_iter()
        .map(|Image { label, path, id }| {
            let annotation = annotations.of(&path, &classes[label]);
            let (boxes, box_fault) =
                bbox::fields(annotation.map_or(Ok(Vec::new()), |xml| voc::read(&xml)));
            Record { id, source: Source::stored(path), label, boxes, box_fault, mask: None }
        })
        .collect();
    Ok(Dataset {
        name: DatasetName::ImageNet,
        split,
        classes,
        records,
        missing: Vec::new(),
        ignored,
    })
}

/// The files of boxes: those of the training images come in a folder a class, those of the
/// validation images in one folder.
struct Annotations {
    folder: PathBuf,
    by_class: bool,
    /// One listing instead of a look for every image.
    files: HashSet<PathBuf>,
}

impl Annotations {
    fn list(root: &Path, folder: &str, classes: &[String]) -> Result<Self> {
        let by_class = folder == "train";
        let folder = root.join("bboxes").join(folder);
        let mut folders = vec![folder.clone()];
        if by_class {
            folders = classes.iter().map(|class| folder.join(class)).collect();
        }
        folders.retain(|folder| folder.is_dir());
        let files = folders.par_iter().map(|folder| list(folder)).collect::<Result<Vec<_>>>()?;
        Ok(Self { folder, by_class, files: files.into_iter().flatten().collect() })
    }

    /// The file of an image, where there is one.
    fn of(&self, image: &Path, class: &str) -> Option<PathBuf> {
        let name = format!("{}.xml", image.file_stem()?.to_str()?);
        let file = if self.by_class { self.folder.join(class) } else { self.folder.clone() };
        self.files.get(&file.join(name)).cloned()
    }
}
