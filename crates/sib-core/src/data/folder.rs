//! Any images in `<split>/<class>/*`, with optional masks in `masks/<split>/<class>/<stem>.png`
//! (foreground: any value but 0) and boxes in `boxes.csv`.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::decode::Orientation;
use super::layout::{file_name, require_layout};
use super::{
    BBox, Dataset, DatasetName, MaskRule, MaskSource, Record, Source, Split, class_folders,
};
use crate::{Error, Result};

pub(super) const LAYOUT: &str = "train/<class>/*.{jpg,jpeg,png}, test/<class>/* (or val/), \
                                 optionally masks/<split>/<class>/<image>.png and boxes.csv";

pub(super) fn open(root: &Path, split: Split) -> Result<Dataset> {
    let test = if root.join("test").is_dir() { "test" } else { "val" };
    let folder = match split {
        Split::Train => "train",
        Split::Test => test,
    };
    require_layout(root, LAYOUT, &[folder])?;
    let classes = class_folders::classes(&[&root.join("train"), &root.join(test)])?;
    let mut boxes = read_boxes(root)?;
    let mut records = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let class_folder = root.join(folder).join(class);
        let images = class_folders::images(&class_folder)?;
        if images.is_empty() && class_folder.is_dir() {
            return Err(Error::malformed(
                class_folder,
                format!("class \"{class}\" has no image (*.jpg, *.jpeg or *.png)"),
            ));
        }
        for path in images {
            let id = format!("{folder}/{class}/{}", file_name(&path));
            let mask = root.join("masks").join(&id).with_extension("png");
            records.push(Record {
                boxes: boxes.remove(&id).unwrap_or_default(),
                mask: mask
                    .is_file()
                    .then_some(MaskSource::File { path: mask, rule: MaskRule::NonZero }),
                source: Source::File { path, orientation: Orientation::Upright },
                label,
                id,
            });
        }
    }
    if let Some(stray) = boxes.keys().filter(|id| is_of(id, folder)).min() {
        return Err(Error::malformed(
            root.join("boxes.csv"),
            format!(
                "a box of {stray}, which is not there; expected a path such as {folder}/cat/1.jpg"
            ),
        ));
    }
    Ok(Dataset { name: DatasetName::Folder, split, classes, records, missing: Vec::new() })
}

/// Whether an image's id lies in the folder of a split.
fn is_of(id: &str, folder: &str) -> bool {
    id.split('/').next() == Some(folder)
}

/// One line of `boxes.csv`: the image's path from the root, and the box's edges in pixels.
#[derive(Debug, Deserialize)]
struct Row {
    image: String,
    x0: f32,
    y0: f32,
    x1: f32,
    y1: f32,
}

/// The boxes of `boxes.csv` (`image,x0,y0,x1,y1`) by image; none where there is no such file.
fn read_boxes(root: &Path) -> Result<HashMap<String, Vec<BBox>>> {
    let path = root.join("boxes.csv");
    if !path.is_file() {
        return Ok(HashMap::new());
    }
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    parse_boxes(&bytes).map_err(|problem| Error::malformed(&path, problem))
}

pub(super) fn parse_boxes(bytes: &[u8]) -> Result<HashMap<String, Vec<BBox>>, String> {
    let mut boxes: HashMap<String, Vec<BBox>> = HashMap::new();
    for row in csv::Reader::from_reader(bytes).deserialize() {
        let Row { image, x0, y0, x1, y1 } =
            row.map_err(|error| format!("expected image,x0,y0,x1,y1: {error}"))?;
        let bbox = BBox::new(x0, y0, x1, y1).checked().map_err(|p| format!("{image}: {p}"))?;
        boxes.entry(image.replace('\\', "/")).or_default().push(bbox);
    }
    Ok(boxes)
}
