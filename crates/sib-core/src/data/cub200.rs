//! Caltech-UCSD Birds-200-2011 (Wah et al. 2011): text files that name images, classes, split and
//! boxes; `images/`; and, where its own archive is unpacked, `segmentations/`.

use std::collections::HashMap;
use std::path::{Component, Path};
use std::str::{FromStr, SplitWhitespace};

use super::layout::{read_text, require_layout};
use super::{BBox, Dataset, DatasetName, MaskRule, MaskSource, Record, Source, Split};
use crate::{Error, Result};

pub(super) const LAYOUT: &str = "images.txt, image_class_labels.txt, train_test_split.txt, \
                                 bounding_boxes.txt, classes.txt, images/<class>/*.jpg, \
                                 optionally segmentations/<class>/*.png";

/// A segmentation's grey value is the share of five annotators; foreground is what at least three
/// of them marked.
const MAJORITY: MaskRule = MaskRule::Majority;

pub(super) fn open(root: &Path, split: Split, allow_missing: bool) -> Result<Dataset> {
    let lists = ["images", "image_class_labels", "train_test_split", "bounding_boxes", "classes"]
        .map(|list| format!("{list}.txt"));
    let mut parts: Vec<&str> = lists.iter().map(String::as_str).collect();
    parts.push("images");
    require_layout(root, LAYOUT, &parts)?;
    // The archive of the segmentations unpacks beside the folder of the first one.
    let segmentations = [root.join("segmentations"), root.join("../segmentations")]
        .into_iter()
        .find(|folder| folder.is_dir());

    let read = |list: &str| -> Result<String> { read_text(&root.join(list)) };
    let bad = |list: &str| {
        let path = root.join(list);
        move |problem: String| Error::malformed(path, problem)
    };
    let images = parse_images(&read("images.txt")?).map_err(bad("images.txt"))?;
    let names = parse_classes(&read("classes.txt")?).map_err(bad("classes.txt"))?;
    let labels: HashMap<u32, u32> = parse_by_id(&read("image_class_labels.txt")?, "class", number)
        .map_err(bad("image_class_labels.txt"))?;
    let splits: HashMap<u32, u32> = parse_by_id(&read("train_test_split.txt")?, "0 or 1", number)
        .map_err(bad("train_test_split.txt"))?;
    let boxes = parse_by_id(&read("bounding_boxes.txt")?, "x y width height", bbox)
        .map_err(bad("bounding_boxes.txt"))?;

    let mut missing = Vec::new();
    let mut total = 0;
    let mut used = vec![false; names.len()];
    let mut records = Vec::new();
    for (id, image) in images {
        let (Some(&class), Some(&is_train)) = (labels.get(&id), splits.get(&id)) else {
            return Err(bad("images.txt")(format!(
                "image {id} has no line in image_class_labels.txt or train_test_split.txt"
            )));
        };
        let Some(class) = names.iter().position(|(known, _)| *known == class) else {
            return Err(bad("image_class_labels.txt")(format!(
                "image {id} is of class {class}, which classes.txt has not"
            )));
        };
        let path = root.join("images").join(&image);
        let wanted = (is_train == 1) == (split == Split::Train);
        total += usize::from(wanted);
        if !path.is_file() {
            if wanted {
                missing.push(format!("images/{image}"));
            }
            continue;
        }
        used[class] = true;
        if wanted {
            let mask = segmentations.as_ref().map(|all| all.join(&image).with_extension("png"));
            records.push(Record {
                source: Source::stored(path),
                label: class,
                boxes: boxes.get(&id).copied().into_iter().collect(),
                mask: mask
                    .filter(|path| path.is_file())
                    .map(|path| MaskSource::File { path, rule: MAJORITY }),
                id: image,
            });
        }
    }
    if !missing.is_empty() && !allow_missing {
        return Err(Error::missing_images(root.join("images.txt"), &missing, total));
    }
    let mut dataset = Dataset {
        name: DatasetName::Cub200,
        split,
        classes: names.into_iter().map(|(_, name)| name).collect(),
        records,
        missing,
    };
    if allow_missing {
        dataset.keep_classes(&used);
    }
    Ok(dataset)
}

/// Lines `id path`.
pub(super) fn parse_images(text: &str) -> Result<Vec<(u32, String)>, String> {
    lines(text)
        .map(|(number, mut words)| match (parsed(words.next()), words.next()) {
            (Some(id), Some(path))
                if Path::new(path)
                    .components()
                    .all(|part| matches!(part, Component::Normal(_))) =>
            {
                Ok((id, path.to_owned()))
            }
            _ => Err(format!("line {number}: expected `id path`")),
        })
        .collect()
}

/// Lines `id name`; the running number that a name starts with is cut off.
pub(super) fn parse_classes(text: &str) -> Result<Vec<(u32, String)>, String> {
    lines(text)
        .map(|(number, mut words)| match (parsed(words.next()), words.next()) {
            (Some(id), Some(name)) => {
                let name = name.split_once('.').map_or(name, |(_, name)| name);
                Ok((id, name.to_owned()))
            }
            _ => Err(format!("line {number}: expected `id name`")),
        })
        .collect()
}

/// Lines of an image's id and a value.
pub(super) fn parse_by_id<T>(
    text: &str,
    what: &str,
    value: impl Fn(&mut SplitWhitespace<'_>) -> Option<T>,
) -> Result<HashMap<u32, T>, String> {
    lines(text)
        .map(|(number, mut words)| {
            parsed(words.next())
                .zip(value(&mut words))
                .ok_or_else(|| format!("line {number}: expected `id {what}`"))
        })
        .collect()
}

fn number(words: &mut SplitWhitespace<'_>) -> Option<u32> {
    parsed(words.next())
}

/// `x y width height`, in pixels.
pub(super) fn bbox(words: &mut SplitWhitespace<'_>) -> Option<BBox> {
    let mut next = || parsed::<f32>(words.next());
    let (x, y, width, height) = (next()?, next()?, next()?, next()?);
    BBox::new(x, y, x + width, y + height).checked().ok()
}

fn parsed<T: FromStr>(word: Option<&str>) -> Option<T> {
    word?.parse().ok()
}

/// The words of the lines that are not empty, with the line's number from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, SplitWhitespace<'_>)> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| (i + 1, line.split_whitespace()))
}
