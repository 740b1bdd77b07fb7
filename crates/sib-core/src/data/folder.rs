//! Any images in `<split>/<class>/*`, or in `<class>/*` with the splits in `splits.csv`; with optional masks in `masks/`,
//! at the image's path with the ending `.png` (foreground: any value but 0), and boxes in `boxes.csv`.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use super::bbox::BBox;
use super::class_folders::{self, Image, Images};
use super::dataset::{Dataset, Record};
use super::decode::Orientation;
use super::decode::labels::MaskRule;
use super::fault::Fault;
use super::files::{self, has_image_ending, is_hidden};
use super::ground_truth::GroundTruth;
use super::layout::{column_of, read_text, require_layout};
use super::options::DataOptions;
use super::source::{MaskSource, Source};
use super::spec::{Root, Spec, Validation};
use super::split::Split;
use super::split_list::{self, Listed, SplitList};
use crate::{Error, Result};

pub(super) const SPEC: Spec = Spec {
    name: "folder",
    title: "folder",
    full_name: "your own images",
    reference: "none",
    classes: None,
    train_images: None,
    test_images: None,
    annotations: "optional masks (any value but 0 is foreground) and boxes (boxes.csv with \
              the header image,x0,y0,x1,y1; paths from the root, edges in pixels)",
    ground_truth: Some(GroundTruth::Auto),
    size: "as you like",
    licence: "yours",
    published: "nowhere",
    unpack: "nothing; one folder a split, in it one folder a class",
    layout: "train/<class>/* and test/<class>/* (images, at any depth), \
             optionally val/<class>/* (the test split where there is no \
             test/), masks/<split>/<class>/<image>.png and boxes.csv; or \
             <class>/* and splits.csv with the header image,split, which \
             `sib-cli init` writes",
    root: Root::Named,
    validation: Validation::Found(validation),
    open,
};

/// Names that the folder of the validation split may have.
const VALIDATION: [&str; 3] = ["val", "valid", "validation"];

/// Where the splits lie.
#[derive(Debug)]
struct Folders {
    test: &'static str,
    /// Where there is one besides `test`.
    validation: Option<&'static str>,
}

impl Folders {
    fn of(root: &Path) -> Result<Self> {
        let there: Vec<&str> =
            VALIDATION.into_iter().filter(|folder| root.join(folder).is_dir()).collect();
        if let [one, other, ..] = there[..] {
            let problem = format!("{one}/ and {other}/, expected one validation split");
            return Err(Error::malformed(root, problem));
        }
        let validation = there.first().copied();
        Ok(match validation {
            Some(test) if !root.join("test").is_dir() => Self { test, validation: None },
            validation => Self { test: "test", validation },
        })
    }

    fn all(&self) -> impl Iterator<Item = &'static str> {
        ["train", self.test].into_iter().chain(self.validation)
    }
}

/// The split that whoever asks for validation means: `test` where `val/` or the like is that.
fn validation(root: &Path) -> Result<Option<Split>> {
    if let Some(splits) = SplitList::of(root)? {
        return Ok((splits.count(Split::Validation) > 0).then_some(Split::Validation));
    }
    let Folders { test, validation } = Folders::of(root)?;
    let test = VALIDATION.contains(&test).then_some(Split::Test);
    Ok(validation.map(|_| Split::Validation).or(test))
}

fn open(root: &Path, split: Split, options: &DataOptions) -> Result<Dataset> {
    match SplitList::of(root)? {
        Some(splits) => open_listed(root, split, &splits, options),
        None => open_folders(root, split),
    }
}

/// Images whose splits are a list.
fn open_listed(
    root: &Path,
    split: Split,
    splits: &SplitList,
    options: &DataOptions,
) -> Result<Dataset> {
    let classes = splits.classes();
    let Listed { images, total, missing } = splits.images(root, split, &classes);
    if !missing.is_empty() && !options.allow_missing {
        return Err(Error::missing_images(root.join(split_list::FILE), &missing, total));
    }
    let mut boxes = read_boxes(root)?;
    let (records, _) = records(root, images, &mut boxes);
    let known = splits.ids();
    expect_known(root, boxes.into_keys().filter(|id| !known.contains(id.as_str())), "cat/1.jpg")?;
    let unlisted = splits.unlisted(root)?;
    Ok(Dataset { missing, unlisted, ..Dataset::of(SPEC.name, split, classes, records) })
}

/// Images whose splits are folders.
fn open_folders(root: &Path, split: Split) -> Result<Dataset> {
    let folders = Folders::of(root)?;
    let folder = match split {
        Split::Train => "train",
        Split::Test => folders.test,
        Split::Validation => folders.validation.unwrap_or("val"),
    };
    require_layout(root, SPEC.layout, &[folder])?;
    let all: Vec<_> = folders.all().map(|folder| root.join(folder)).collect();
    let classes = class_folders::classes(&all)?;
    let Images { images, mut ignored } = class_folders::images(root, folder, &classes)?;
    let mut boxes = read_boxes(root)?;
    let (records, masks) = records(root, images, &mut boxes);
    let unknown = boxes.into_keys().filter(|id| !is_of_other(id, root, &folders, folder));
    expect_known(root, unknown, &format!("{folder}/cat/1.jpg"))?;
    ignored.extend(unused_masks(root, folder, &masks)?);
    Ok(Dataset { ignored, ..Dataset::of(SPEC.name, split, classes, records) })
}

/// The records of `images` with their masks and boxes, which are taken out of `boxes`; and the masks' files.
fn records(
    root: &Path,
    images: Vec<Image>,
    boxes: &mut BoxesByImage,
) -> (Vec<Record>, HashSet<PathBuf>) {
    let mut masks = HashSet::new();
    let mut records = Vec::new();
    for Image { label, path, id } in images {
        let mask = root.join("masks").join(&id).with_extension("png");
        let mask = mask.is_file().then_some(mask);
        masks.extend(mask.clone());
        let file = || root.join("boxes.csv");
        let read = boxes.remove(&id).unwrap_or(Ok(Vec::new()));
        let boxes = read.map_err(|problem| Fault { file: file(), problem });
        let source = Source::File { path, orientation: Orientation::Upright };
        let mut record = Record::new(id, label, source).with_read_boxes(boxes);
        record.mask = mask.map(|path| MaskSource::File { path, rule: MaskRule::NonZero });
        records.push(record);
    }
    (records, masks)
}

/// Masks of no image: of another name, or of another ending than `.png`.
fn unused_masks(root: &Path, folder: &str, used: &HashSet<PathBuf>) -> Result<Vec<String>> {
    let masks = root.join("masks").join(folder);
    if !masks.is_dir() {
        return Ok(Vec::new());
    }
    let found = files::find(&masks)?;
    let unused = found.images.iter().chain(&found.others).filter(|path| !used.contains(*path));
    Ok(unused.map(|path| files::relative(path, root)).collect())
}

/// Whether an image that is none of the split in `folder` is of another split.
fn is_of_other(id: &str, root: &Path, folders: &Folders, folder: &str) -> bool {
    let mut parts = Path::new(id).components();
    let is_of_other = folders.all().any(|other| other != folder && of(id) == other);
    let is_plain =
        parts.all(|part| matches!(part, Component::Normal(name) if !is_hidden(Path::new(name))));
    let is_image = has_image_ending(Path::new(id)) && id.matches('/').count() >= 2;
    is_of_other && is_plain && is_image && root.join(id).is_file()
}

/// Fails where there are `unknown` images that `boxes.csv` has boxes of; paths should look like `example`.
fn expect_known(root: &Path, unknown: impl Iterator<Item = String>, example: &str) -> Result<()> {
    let unknown: Vec<String> = unknown.collect();
    let Some(first) = unknown.iter().min() else { return Ok(()) };
    Err(Error::malformed(
        root.join("boxes.csv"),
        format!(
            "boxes of {} images that are in no split, such as \"{first}\"; expected paths such as \
             {example}",
            unknown.len()
        ),
    ))
}

/// The folder that an image's id begins with.
fn of(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

/// Boxes, or what is wrong with them, by image.
type BoxesByImage = HashMap<String, Result<Vec<BBox>, String>>;

/// The columns of `boxes.csv`: the image's path from the root, and the box's edges in pixels.
const COLUMNS: [&str; 5] = ["image", "x0", "y0", "x1", "y1"];

/// The boxes of `boxes.csv` by image; none where there is no such file.
fn read_boxes(root: &Path) -> Result<BoxesByImage> {
    let path = root.join("boxes.csv");
    if !path.is_file() {
        return Ok(HashMap::new());
    }
    parse_boxes(&read_text(&path)?).map_err(|problem| Error::malformed(&path, problem))
}

/// The boxes of a file's text. A row that cannot be read is the fault of its image alone.
pub(super) fn parse_boxes(text: &str) -> Result<BoxesByImage, String> {
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        *place = column_of(&header, column, &COLUMNS)?;
    }
    let mut boxes = BoxesByImage::new();
    for row in reader.records() {
        let row = row.map_err(|error| error.to_string())?;
        let line = row.position().map_or(0, csv::Position::line);
        let image = row.get(places[0]).unwrap_or_default().replace('\\', "/");
        let bbox = edges(&row, &places[1..], header.len())
            .map_err(|problem| format!("line {line}: {problem}"));
        let known = boxes.entry(image).or_insert(Ok(Vec::new()));
        match (known, bbox) {
            (Ok(known), Ok(bbox)) => known.push(bbox),
            (known @ Ok(_), Err(problem)) => *known = Err(problem),
            (Err(_), _) => {}
        }
    }
    Ok(boxes)
}

/// The box of a row that has as many values as the header.
fn edges(row: &csv::StringRecord, places: &[usize], columns: usize) -> Result<BBox, String> {
    if row.len() != columns {
        return Err(format!("{} values, expected {columns}", row.len()));
    }
    let numbers: Vec<f32> =
        places.iter().filter_map(|&place| row.get(place)?.parse().ok()).collect();
    match numbers[..] {
        [x0, y0, x1, y1] => BBox::new(x0, y0, x1, y1).checked(),
        _ => Err("expected numbers for x0, y0, x1 and y1".to_owned()),
    }
}
