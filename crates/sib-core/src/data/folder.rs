//! Any images in `<split>/<class>/*`, with optional masks in `masks/<split>/<class>/<stem>.png` and
//! boxes in `boxes.csv`.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use serde::Deserialize;

use super::decode::Orientation;
use super::{
    BBox, Dataset, DatasetName, MaskRule, MaskSource, Record, Source, Split, file_name, list,
    require_layout,
};
use crate::{Error, Result};

pub(crate) const LAYOUT: &str = "train/<class>/*.{jpg,png}, test/<class>/*.{jpg,png} (or val/), \
                                 optionally masks/<split>/<class>/<image>.png and boxes.csv";

/// Endings of the files that are taken for images; their content is what is decoded.
const ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];

pub(crate) fn open(root: &Path, split: Split) -> Result<Dataset> {
    let test = if root.join("test").is_dir() { "test" } else { "val" };
    let folder = |split: Split| match split {
        Split::Train => "train",
        Split::Test => test,
    };
    require_layout(root, LAYOUT, &[folder(split)])?;

    // The classes are those of both splits together, so that labels agree between them.
    let mut classes = BTreeSet::new();
    for part in [Split::Train, Split::Test] {
        let path = root.join(folder(part));
        if path.is_dir() {
            classes.extend(list(&path)?.iter().filter(|p| p.is_dir()).map(|p| file_name(p)));
        }
    }
    let classes: Vec<String> = classes.into_iter().collect();

    let mut boxes = read_boxes(root)?;
    let mut records = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let class_folder = root.join(folder(split)).join(class);
        if !class_folder.is_dir() {
            continue;
        }
        let before = records.len();
        for path in list(&class_folder)? {
            let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            if !ENDINGS.contains(&ending.as_str()) {
                continue;
            }
            let id = format!("{}/{class}/{}", folder(split), file_name(&path));
            let mask = root.join("masks").join(&id).with_extension("png");
            records.push(Record {
                boxes: boxes.remove(&id).unwrap_or_default(),
                mask: mask
                    .is_file()
                    .then_some(MaskSource::File { path: mask, rule: MaskRule::AtLeast(1) }),
                source: Source::File { path, orientation: Orientation::Upright },
                label,
                id,
            });
        }
        if records.len() == before {
            return Err(Error::malformed(
                class_folder,
                format!("class \"{class}\" has no image (*.{})", ENDINGS.join(", *.")),
            ));
        }
    }
    Ok(Dataset { name: DatasetName::Folder, split, classes, records, missing: 0 })
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

fn parse_boxes(bytes: &[u8]) -> Result<HashMap<String, Vec<BBox>>, String> {
    let mut boxes: HashMap<String, Vec<BBox>> = HashMap::new();
    for row in csv::Reader::from_reader(bytes).deserialize() {
        let Row { image, x0, y0, x1, y1 } =
            row.map_err(|error| format!("expected image,x0,y0,x1,y1: {error}"))?;
        let bbox = BBox::new(x0, y0, x1, y1);
        if bbox.is_empty() || ![x0, y0, x1, y1].into_iter().all(f32::is_finite) {
            return Err(format!("{image}: empty box ({x0}, {y0}, {x1}, {y1})"));
        }
        boxes.entry(image.replace('\\', "/")).or_default().push(bbox);
    }
    Ok(boxes)
}
