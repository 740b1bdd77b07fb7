//! Oxford-IIIT Pet (Parkhi et al. 2012, doi:10.1109/CVPR.2012.6248092): `images/`,
//! `annotations/{trainval,test}.txt`, trimaps (1 foreground, 2 background, 3 border) and, for some
//! images, head boxes.

use std::path::Path;

use super::dataset::{Dataset, Record};
use super::decode::labels::MaskRule;
use super::ground_truth::GroundTruth;
use super::layout::{expect_distinct, names_by_id, read_text, require_layout};
use super::options::DataOptions;
use super::source::{MaskSource, Source};
use super::spec::{Root, Spec, Validation};
use super::split::Split;
use super::voc;
use crate::{Error, Result};

pub(super) const SPEC: Spec = Spec {
    name: "pets",
    title: "Oxford-IIIT Pet",
    full_name: "Oxford-IIIT Pet",
    reference: "Parkhi et al. 2012, doi:10.1109/CVPR.2012.6248092",
    classes: Some(37),
    train_images: Some(3_680),
    test_images: Some(3_669),
    annotations: "a trimap an image, head boxes of most training images",
    ground_truth: Some(GroundTruth::Mask),
    size: "755 MB images, 19 MB annotations",
    licence: "CC BY-SA 4.0",
    published: "https://www.robots.ox.ac.uk/~vgg/data/pets/",
    unpack: "images.tar.gz and annotations.tar.gz, both into the root",
    layout: "images/*.jpg, annotations/{trainval.txt,test.txt}, \
             annotations/trimaps/*.png, annotations/xmls/*.xml",
    root: Root::Named,
    validation: Validation::Nothing,
    open,
};

/// One line of a split file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    image: String,
    class_id: usize,
}

fn open(root: &Path, split: Split, options: &DataOptions) -> Result<Dataset> {
    require_layout(
        root,
        SPEC.layout,
        &["images", "annotations/trainval.txt", "annotations/test.txt"],
    )?;
    let annotations = root.join("annotations");
    let file = |split: Split| match split {
        Split::Train => annotations.join("trainval.txt"),
        Split::Test | Split::Validation => annotations.join("test.txt"),
    };
    let mut lines = Vec::new();
    for part in [Split::Train, Split::Test] {
        let path = file(part);
        let read = parse(&read_text(&path)?).map_err(|problem| Error::malformed(&path, problem))?;
        expect_distinct("image", read.iter().map(|line| line.image.as_str()))
            .map_err(|problem| Error::malformed(&path, problem))?;
        lines.extend(read.into_iter().map(|line| (part, line)));
    }

    // The classes are those of both splits together, so that labels agree between them.
    let image = |name: &str| root.join("images").join(format!("{name}.jpg"));
    let total = lines.iter().filter(|(part, _)| *part == split).count();
    let mut missing = Vec::new();
    lines.retain(|(part, line)| {
        let there = image(&line.image).is_file();
        if !there && *part == split {
            missing.push(format!("images/{}.jpg", line.image));
        }
        there || !options.allow_missing
    });
    if !missing.is_empty() && !options.allow_missing {
        return Err(Error::missing_images(file(split), &missing, total));
    }
    let names = names_by_id(lines.iter().map(|(_, line)| (line.class_id, breed(&line.image))))
        .map_err(|problem| Error::malformed(&annotations, problem))?;
    let ids: Vec<usize> = names.keys().copied().collect();

    let records = lines
        .into_iter()
        .filter(|(part, _)| *part == split)
        .map(|(_, line)| {
            let trimap = annotations.join("trimaps").join(format!("{}.png", line.image));
            let xml = annotations.join("xmls").join(format!("{}.xml", line.image));
            let boxes = if xml.is_file() { voc::read(&xml) } else { Ok(Vec::new()) };
            let label = ids.binary_search(&line.class_id).unwrap_or_default();
            let source = Source::stored(image(&line.image));
            let mask = MaskSource::File { path: trimap.clone(), rule: MaskRule::Trimap };
            let mut record = Record::new(line.image, label, source).with_read_boxes(boxes);
            record.mask = trimap.is_file().then_some(mask);
            record
        })
        .collect();
    let classes = names.into_values().collect();
    Ok(Dataset { missing, ..Dataset::of(SPEC.name, split, classes, records) })
}

/// The breed in an image's name: all but the running number.
fn breed(image: &str) -> &str {
    image.rsplit_once('_').map_or(image, |(breed, _)| breed)
}

/// The lines `image class species breed` of a split file; `#` starts a comment.
pub(super) fn parse(text: &str) -> Result<Vec<Line>, String> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(i, line)| {
            let mut words = line.split_whitespace();
            match (words.next(), words.next().and_then(|id| id.parse().ok())) {
                (Some(image), Some(class_id)) if !image.contains(['/', '\\']) => {
                    Ok(Line { image: image.to_owned(), class_id })
                }
                _ => Err(format!("line {}: expected `image class species breed`", i + 1)),
            }
        })
        .collect()
}
