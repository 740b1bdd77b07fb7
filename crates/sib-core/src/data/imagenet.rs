//! ImageNet (Russakovsky et al. 2015, doi:10.1007/s11263-015-0816-y): `train/<wnid>/`,
//! `val/<wnid>/`, and VOC XML boxes in `bboxes/val/` and, optionally, `bboxes/train/<wnid>/`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::class_folders::{self, Image, Images};
use super::dataset::{Dataset, Record};
use super::ground_truth::GroundTruth;
use super::layout::{list, require_layout};
use super::options::DataOptions;
use super::source::Source;
use super::spec::{Root, Spec, Validation};
use super::split::Split;
use super::voc;
use crate::{Error, Result};

pub(super) const SPEC: Spec = Spec {
    name: "imagenet",
    title: "ImageNet",
    full_name: "ImageNet (ILSVRC2012)",
    reference: "Russakovsky et al. 2015, doi:10.1007/s11263-015-0816-y",
    classes: Some(1000),
    train_images: Some(1_281_167),
    test_images: Some(50_000),
    annotations: "boxes of the validation images, and of part of the training images",
    ground_truth: Some(GroundTruth::Box),
    size: "138 GB training images, 6.3 GB validation images, 2 MB boxes",
    licence: "non-commercial research and education, after registration",
    published: "https://www.image-net.org/download.php",
    unpack: "ILSVRC2012_img_train.tar into train/, one folder a class; \
         ILSVRC2012_img_val.tar into val/, sorted into folders by class; \
         ILSVRC2012_bbox_val_v3.tgz into bboxes/",
    layout: "train/<wnid>/*.JPEG, val/<wnid>/*.JPEG (sorted into folders), \
             bboxes/val/*.xml",
    root: Root::Named,
    validation: Validation::Test,
    open,
};

fn open(root: &Path, split: Split, _: &DataOptions) -> Result<Dataset> {
    let folder = match split {
        Split::Train => "train",
        Split::Test | Split::Validation => "val",
    };
    require_layout(root, SPEC.layout, &[folder])?;
    let classes = class_folders::classes(&[root.join("train"), root.join("val")])?;
    if classes.is_empty() {
        return Err(Error::malformed(
            root.join(folder),
            format!("no class folders such as {folder}/n01440764; expected {}", SPEC.layout),
        ));
    }
    let Images { images, ignored } = class_folders::images(root, folder, &classes)?;
    let annotations = Annotations::list(root, folder, &classes)?;
    let records = images
        .into_par_iter()
        .map(|Image { label, path, id }| {
            let annotation = annotations.of(&path, &classes[label]);
            let boxes = annotation.map_or(Ok(Vec::new()), |xml| voc::read(&xml));
            Record::new(id, label, Source::stored(path)).with_read_boxes(boxes)
        })
        .collect();
    Ok(Dataset { ignored, ..Dataset::of(SPEC.name, split, classes, records) })
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
