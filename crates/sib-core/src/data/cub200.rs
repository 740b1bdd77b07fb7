//! Caltech-UCSD Birds-200-2011 (Wah et al. 2011): text files that name images, classes, split and
//! boxes; `images/`; and, where its own archive is unpacked, `segmentations/`, whose grey values are
//! shares of five annotators: foreground is what at least three of them marked.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::str::FromStr;

use super::bbox::BBox;
use super::dataset::{Dataset, Record};
use super::decode::labels::MaskRule;
use super::fault::Fault;
use super::ground_truth::GroundTruth;
use super::layout::{expect_distinct, read_text, require_layout};
use super::options::DataOptions;
use super::source::{MaskSource, Source};
use super::spec::{Root, Spec, Validation};
use super::split::Split;
use crate::{Error, Result};

pub(super) const SPEC: Spec = Spec {
    name: "cub200",
    title: "CUB-200",
    full_name: "Caltech-UCSD Birds-200-2011",
    reference: "Wah et al. 2011, Caltech technical report CNS-TR-2011-001",
    classes: Some(200),
    train_images: Some(5_994),
    test_images: Some(5_794),
    annotations: "a box an image; segmentations in an archive of their own",
    ground_truth: Some(GroundTruth::Mask),
    size: "1.1 GB, segmentations 38 MB",
    licence: "non-commercial research and education; images belong to their photographers",
    published: "https://www.vision.caltech.edu/datasets/cub_200_2011/",
    unpack: "CUB_200_2011.tgz; root is the folder CUB_200_2011; segmentations.tgz beside \
         or inside it",
    layout: "images.txt, image_class_labels.txt, train_test_split.txt, \
             bounding_boxes.txt, classes.txt, images/<class>/*.jpg, \
             optionally segmentations/<class>/*.png",
    root: Root::Archive("CUB_200_2011"),
    validation: Validation::Nothing,
    open,
};

fn open(root: &Path, split: Split, options: &DataOptions) -> Result<Dataset> {
    let lists = ["images", "image_class_labels", "train_test_split", "bounding_boxes", "classes"]
        .map(|list| format!("{list}.txt"));
    let mut parts: Vec<&str> = lists.iter().map(String::as_str).collect();
    parts.push("images");
    require_layout(root, SPEC.layout, &parts)?;
    // The archive of the segmentations unpacks beside the folder of the first one.
    let segmentations = [root.join("segmentations"), root.join("../segmentations")]
        .into_iter()
        .find(|folder| folder.is_dir());

    let read = |list: &str| -> Result<String> { read_text(&root.join(list)) };
    let bad = |list: &str| {
        let path = root.join(list);
        move |problem: String| Error::malformed(path, problem)
    };
    let images = parse_names(&read("images.txt")?, "path").map_err(bad("images.txt"))?;
    if let Some((_, path)) = images.iter().find(|(_, path)| !is_inside(path)) {
        return Err(bad("images.txt")(format!("{path}, expected a path within images/")));
    }
    expect_distinct("image", images.iter().map(|(_, path)| path.as_str()))
        .map_err(bad("images.txt"))?;
    let names = parse_names(&read("classes.txt")?, "name").map_err(bad("classes.txt"))?;
    let labels: HashMap<u32, u32> =
        parse_by_id(&read("image_class_labels.txt")?, "class", parsed::<u32>)
            .map_err(bad("image_class_labels.txt"))?;
    let splits: HashMap<u32, bool> =
        parse_by_id(&read("train_test_split.txt")?, "0 or 1", is_train)
            .map_err(bad("train_test_split.txt"))?;
    let boxes = Boxes::parse(&read("bounding_boxes.txt")?);

    let mut missing = Vec::new();
    let mut total = 0;
    let mut used = vec![false; names.len()];
    let mut records = Vec::new();
    for (id, image) in images {
        let (Some(class), Some(&is_train)) = (labels.get(&id), splits.get(&id)) else {
            return Err(bad("images.txt")(format!(
                "image {id} has no line in image_class_labels.txt or train_test_split.txt"
            )));
        };
        let Some(label) = names.iter().position(|(known, _)| known == class) else {
            return Err(bad("image_class_labels.txt")(format!(
                "image {id} is of class {class}, which classes.txt has not"
            )));
        };
        let path = root.join("images").join(&image);
        let wanted = is_train == (split == Split::Train);
        total += usize::from(wanted);
        if !path.is_file() {
            if wanted {
                missing.push(format!("images/{image}"));
            }
            continue;
        }
        used[label] = true;
        if wanted {
            let mask = segmentations.as_ref().map(|all| all.join(&image).with_extension("png"));
            let file = || root.join("bounding_boxes.txt");
            let boxes = boxes.of(id).map_err(|problem| Fault { file: file(), problem });
            let mut record = Record::new(image, label, Source::stored(path)).with_read_boxes(boxes);
            record.mask = mask
                .filter(|path| path.is_file())
                .map(|path| MaskSource::File { path, rule: MaskRule::Majority });
            records.push(record);
        }
    }
    if !missing.is_empty() && !options.allow_missing {
        return Err(Error::missing_images(root.join("images.txt"), &missing, total));
    }
    let classes = names.iter().map(|(_, name)| without_number(name).to_owned()).collect();
    let mut dataset = Dataset { missing, ..Dataset::of(SPEC.name, split, classes, records) };
    if options.allow_missing {
        dataset.keep_classes(&used);
    }
    Ok(dataset)
}

/// Whether a path stays below where it starts.
fn is_inside(path: &str) -> bool {
    // Of one spelling, since paths are compared as text.
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The name of a class without the running number that it starts with.
fn without_number(name: &str) -> &str {
    match name.split_once('.') {
        Some((number, name)) if number.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    }
}

/// Lines `id name`, in their order; a name may hold spaces.
pub(super) fn parse_names(text: &str, what: &str) -> Result<Vec<(u32, String)>, String> {
    parse_by_id(text, what, |rest| (!rest.is_empty()).then(|| rest.to_owned()))
}

/// Lines of an id and a value, which `value` reads; each id once.
pub(super) fn parse_by_id<T, C: FromIterator<(u32, T)>>(
    text: &str,
    what: &str,
    value: impl Fn(&str) -> Option<T>,
) -> Result<C, String> {
    let mut seen = HashSet::new();
    lines(text)
        .map(|(number, id, rest)| match id.zip(value(rest)) {
            Some((id, _)) if !seen.insert(id) => Err(format!("line {number}: {id} is there twice")),
            line => line.ok_or_else(|| format!("line {number}: expected `id {what}`")),
        })
        .collect()
}

/// What `bounding_boxes.txt` says of the images.
#[derive(Debug, Default)]
pub(super) struct Boxes {
    by_image: HashMap<u32, Result<BBox, String>>,
    /// The first line that does not say which image it is of.
    stray: Option<String>,
}

impl Boxes {
    /// Lines `id x y width height`.
    pub(super) fn parse(text: &str) -> Self {
        let mut boxes = Self::default();
        for (number, id, rest) in lines(text) {
            let Some(id) = id else {
                let problem = format!("line {number}: expected `id x y width height`");
                boxes.stray.get_or_insert(problem);
                continue;
            };
            let read = bbox(rest).map_err(|problem| format!("line {number}: {problem}"));
            if boxes.by_image.insert(id, read).is_some() {
                let problem = format!("line {number}: image {id} has a box already");
                boxes.by_image.insert(id, Err(problem));
            }
        }
        boxes
    }

    /// The box of an image, if it has one; none can be told from a line that cannot be read.
    pub(super) fn of(&self, image: u32) -> Result<Vec<BBox>, String> {
        match (self.by_image.get(&image), &self.stray) {
            (Some(bbox), _) => Ok(vec![bbox.clone()?]),
            (None, Some(stray)) => Err(stray.clone()),
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// `x y width height`, in pixels.
fn bbox(rest: &str) -> Result<BBox, String> {
    let numbers: Vec<f32> = rest.split_whitespace().map_while(parsed).collect();
    match numbers[..] {
        [x, y, width, height] => BBox::new(x, y, x + width, y + height).checked(),
        _ => Err("expected `id x y width height`".to_owned()),
    }
}

fn is_train(word: &str) -> Option<bool> {
    match word {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn parsed<T: FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

/// The lines that are not empty: number from 1, id, and what follows it.
fn lines(text: &str) -> impl Iterator<Item = (usize, Option<u32>, &str)> {
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(i, line)| {
        let (id, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        (i + 1, parsed(id), rest.trim_start())
    })
}
