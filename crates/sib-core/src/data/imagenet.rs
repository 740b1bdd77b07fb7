//! ImageNet (Russakovsky et al. 2015, doi:10.1007/s11263-015-0816-y): `train/<wnid>/`,
//! `val/<wnid>/`, and VOC XML boxes in `bboxes/val/` and, optionally, `bboxes/train/<wnid>/`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::layout::{file_name, list, require_layout};
use super::{Dataset, DatasetName, Record, Source, Split, class_folders, voc};
use crate::{Error, Result};

pub(super) const LAYOUT: &str = "train/<wnid>/*.JPEG, val/<wnid>/*.JPEG (sorted into folders), \
                                 bboxes/val/*.xml";

pub(super) fn open(root: &Path, split: Split) -> Result<Dataset> {
    let folder = match split {
        Split::Train => "train",
        Split::Test => "val",
    };
    require_layout(root, LAYOUT, &[folder])?;
    let classes = class_folders::classes(&[&root.join("train"), &root.join("val")])?;
    if classes.is_empty() {
        return Err(Error::malformed(
            root.join(folder),
            format!("no class folders such as {folder}/n01440764; expected {LAYOUT}"),
        ));
    }
    let per_class: Vec<Vec<Record>> = classes
        .par_iter()
        .enumerate()
        .map(|(label, wnid)| read_class(root, folder, label, wnid))
        .collect::<Result<_>>()?;
    Ok(Dataset {
        name: DatasetName::ImageNet,
        split,
        classes,
        records: per_class.into_iter().flatten().collect(),
        missing: Vec::new(),
    })
}

fn read_class(root: &Path, folder: &str, label: usize, wnid: &str) -> Result<Vec<Record>> {
    // The boxes of the training images come in a folder a class, those of the validation images in
    // one folder. One listing instead of a look for every image.
    let (boxes, listed): (PathBuf, Option<HashSet<PathBuf>>) = if folder == "train" {
        let boxes = root.join("bboxes/train").join(wnid);
        let listed = if boxes.is_dir() { list(&boxes)? } else { Vec::new() };
        (boxes, Some(listed.into_iter().collect()))
    } else {
        (root.join("bboxes/val"), None)
    };
    class_folders::images(&root.join(folder).join(wnid))?
        .into_iter()
        .map(|path| {
            let xml = boxes.join(path.file_stem().unwrap_or_default()).with_extension("xml");
            let annotated = listed.as_ref().map_or_else(|| xml.is_file(), |all| all.contains(&xml));
            Ok(Record {
                id: format!("{folder}/{wnid}/{}", file_name(&path)),
                boxes: if annotated { voc::read(&xml)? } else { Vec::new() },
                source: Source::stored(path),
                label,
                mask: None,
            })
        })
        .collect()
}
