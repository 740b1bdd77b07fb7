//! Stanford Dogs (Khosla et al. 2011): `Images/<wnid-name>/*.jpg`, `Annotation/<wnid-name>/<id>`
//! (VOC XML without ending) and the splits `{train,test}_list.mat`.

use std::path::Path;

use rayon::prelude::*;

use super::dataset::{Dataset, Record};
use super::ground_truth::GroundTruth;
use super::layout::{expect_distinct, names_by_id, require_layout};
use super::mat5::{self, Value};
use super::options::DataOptions;
use super::source::Source;
use super::spec::{Root, Spec, Validation};
use super::split::Split;
use super::voc;
use crate::{Error, Result, plain_file};

pub(super) const SPEC: Spec = Spec {
    name: "dogs",
    title: "Stanford Dogs",
    full_name: "Stanford Dogs",
    reference: "Khosla et al. 2011, Novel Dataset for Fine-Grained Image Categorization",
    classes: Some(120),
    train_images: Some(12_000),
    test_images: Some(8_580),
    annotations: "boxes of every dog",
    ground_truth: Some(GroundTruth::Box),
    size: "757 MB images, 21 MB annotations, 0.5 MB lists",
    licence: "that of ImageNet: non-commercial research and education",
    published: "http://vision.stanford.edu/aditya86/ImageNetDogs/",
    unpack: "images.tar, annotation.tar and lists.tar, all into the root",
    layout: "Images/<wnid-name>/*.jpg, Annotation/<wnid-name>/<image>, \
             train_list.mat, test_list.mat",
    root: Root::Named,
    validation: Validation::Nothing,
    open,
};

/// One image of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// `<wnid-name>/<image>.jpg`.
    image: String,
    /// From 1.
    class_id: u32,
}

impl Line {
    /// Name of the breed: the folder's without its wnid.
    fn breed(&self) -> &str {
        let folder = self.image.split('/').next().unwrap_or_default();
        folder.split_once('-').map_or(folder, |(_, breed)| breed)
    }
}

fn open(root: &Path, split: Split, options: &DataOptions) -> Result<Dataset> {
    require_layout(root, SPEC.layout, &["Images", "train_list.mat", "test_list.mat"])?;
    let path = |split: Split| root.join(format!("{split}_list.mat"));
    let mut lines = Vec::new();
    for part in [Split::Train, Split::Test] {
        let file = path(part);
        let bytes = plain_file::read(&file).map_err(Error::io("read", &file))?;
        let read = parse(&bytes).map_err(|problem| Error::malformed(&file, problem))?;
        expect_distinct("image", read.iter().map(|line| line.image.as_str()))
            .map_err(|problem| Error::malformed(&file, problem))?;
        lines.extend(read.into_iter().map(|line| (part, line)));
    }

    // The classes are those of both splits together, so that labels agree between them.
    let total = lines.iter().filter(|(part, _)| *part == split).count();
    let mut missing = Vec::new();
    lines.retain(|(part, line)| {
        let there = root.join("Images").join(&line.image).is_file();
        if !there && *part == split {
            missing.push(format!("Images/{}", line.image));
        }
        there || !options.allow_missing
    });
    if !missing.is_empty() && !options.allow_missing {
        return Err(Error::missing_images(path(split), &missing, total));
    }
    let names = names_by_id(lines.iter().map(|(_, line)| (line.class_id, line.breed())))
        .map_err(|problem| Error::malformed(root, problem))?;
    let ids: Vec<u32> = names.keys().copied().collect();

    let records = lines
        .into_par_iter()
        .filter(|(part, _)| *part == split)
        .map(|(_, line)| {
            let annotation = root.join("Annotation").join(&line.image).with_extension("");
            let boxes = if annotation.is_file() { voc::read(&annotation) } else { Ok(Vec::new()) };
            let label = ids.binary_search(&line.class_id).unwrap_or_default();
            let source = Source::stored(root.join("Images").join(&line.image));
            Record::new(line.image, label, source).with_read_boxes(boxes)
        })
        .collect();
    let classes = names.into_values().collect();
    Ok(Dataset { missing, ..Dataset::of(SPEC.name, split, classes, records) })
}

/// `file_list` (a cell of paths) and `labels` (numbers from 1) of a list file.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Line>, String> {
    let variables = mat5::read(bytes)?;
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        found.ok_or_else(|| format!("no variable {name}; expected file_list and labels"))
    };
    let (Value::Cell(files), Value::Numbers(labels)) =
        (variable("file_list")?, variable("labels")?)
    else {
        return Err("expected file_list to be a cell array and labels to be numbers".to_owned());
    };
    if files.len() != labels.len() {
        return Err(format!("{} files but {} labels", files.len(), labels.len()));
    }
    files
        .iter()
        .zip(labels)
        .map(|(file, &label)| {
            let Value::Text(image) = file else {
                return Err("expected file_list to hold strings".to_owned());
            };
            let parts: Vec<&str> = image.split('/').collect();
            let is_plain = parts.iter().all(|part| !matches!(*part, "" | "." | ".."));
            if parts.len() != 2 || !is_plain {
                return Err(format!("\"{image}\", expected <wnid-name>/<image>.jpg"));
            }
            if label < 1.0 || label > f64::from(u16::MAX) || label.fract() != 0.0 {
                return Err(format!("label {label} of {image}, expected a class from 1"));
            }
            Ok(Line { image: image.clone(), class_id: label as u32 })
        })
        .collect()
}
