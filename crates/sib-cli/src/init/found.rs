//! What lies in a folder: which dataset, which splits, what is known of the objects, how large the images are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sib_core::data::split_list::{self, SplitList};
use sib_core::data::{DataOptions, Dataset, DatasetName, Split, open, splits};

use crate::error::usage;

/// What to draw where a folder has no splits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    pub(crate) test: f64,
    pub(crate) val: f64,
    pub(crate) seed: u64,
}

/// A folder that can be trained on.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: DatasetName,
    /// The whole path.
    pub(crate) root: PathBuf,
    pub(crate) splits: Vec<Dataset>,
    /// Median length of the images' short sides.
    pub(crate) short_px: u32,
    /// The list of splits that was drawn for it.
    pub(crate) drawn: Option<PathBuf>,
}

/// How many images are looked at for their size.
const LOOKED_AT: usize = 32;

impl Found {
    /// Recognises the images in `root`; where they have no splits, draws some and writes them as a list into it.
    ///
    /// # Errors
    /// In one line, what was expected and what was found.
    pub(crate) fn below(root: &Path, shares: Shares) -> Result<Self> {
        if !root.is_dir() {
            return Err(usage(format!("--data: {} is no folder", root.display())));
        }
        let root = root.canonicalize().map_err(sib_core::Error::io("find", root))?;
        let name = recognise(&root);
        let drawn = (name == DatasetName::Folder && !has_splits(&root))
            .then(|| draw(&root, shares))
            .transpose()?;
        let options = DataOptions { allow_missing: true, ..DataOptions::default() };
        let of = |split| open(name, &root, split, &options);
        let splits = splits(name, &root)?.into_iter().map(of).collect::<Result<Vec<_>, _>>()?;
        let short_px = short_side(&splits[0])?;
        Ok(Self { name, root, splits, short_px, drawn })
    }

    /// What to tell, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{}: {}", self.root.display(), self.summary())];
        if let Some(list) = &self.drawn {
            lines.push(format!("no splits there, so some were drawn: {}", list.display()));
        }
        lines.extend(self.splits.iter().flat_map(Dataset::remarks));
        for split in &self.splits {
            let counts = split.class_counts();
            let empty: Vec<_> = (0..counts.len()).filter(|&class| counts[class] == 0).collect();
            if let Some(&first) = empty.first() {
                lines.push(format!(
                    "{} split: {} of {} classes have no image, such as {}",
                    split.split,
                    empty.len(),
                    counts.len(),
                    split.classes[first]
                ));
            }
        }
        lines
    }

    /// Dataset, images, classes and annotations in a sentence's part.
    pub(crate) fn summary(&self) -> String {
        let splits: Vec<String> = self
            .splits
            .iter()
            .map(|split| format!("{} {}", split.records.len(), split.split))
            .collect();
        let full_name = self.name.spec().full_name;
        let classes = self.splits[0].classes.len();
        let all = || self.splits.iter().flat_map(|split| &split.records);
        let images = all().count();
        let known = |what: &str, count: usize| match count {
            0 => String::new(),
            _ if count == images => format!(", with {what}"),
            _ => format!(", {count} with {what}"),
        };
        let masks = known("masks", all().filter(|record| record.mask.is_some()).count());
        let boxes = known("boxes", all().filter(|record| !record.boxes.is_empty()).count());
        format!(
            "{full_name}, {classes} classes, images: {}{masks}{boxes}; short side {} px",
            splits.join(", "),
            self.short_px
        )
    }

    /// Whether the dataset says of every image of a split where its object is.
    pub(crate) fn is_annotated(&self, split: Split) -> bool {
        let mut images =
            self.splits.iter().filter(|it| it.split == split).flat_map(|it| &it.records);
        images.all(|record| record.mask.is_some() || !record.boxes.is_empty())
    }
}

/// The dataset whose layout `root` has; whatever is none of the known ones is a folder of the user's own.
fn recognise(root: &Path) -> DatasetName {
    let options = DataOptions { allow_missing: true, ..DataOptions::default() };
    let has_layout = |name: DatasetName| open(name, root, Split::Train, &options);
    // ImageNet's layout is a folder's, but for the names of its classes.
    let is_it = |name: DatasetName| match (name, has_layout(name)) {
        (_, Err(_)) | (DatasetName::Folder | DatasetName::Synthetic, _) => false,
        (DatasetName::ImageNet, Ok(train)) => {
            train.classes.len() == 1000
                || first_folder(&root.join("train")).is_some_and(|name| is_wnid(&name))
        }
        (_, Ok(_)) => true,
    };
    DatasetName::ALL.into_iter().find(|&name| is_it(name)).unwrap_or(DatasetName::Folder)
}

/// The name of one of the folders in `folder`.
fn first_folder(folder: &Path) -> Option<String> {
    let folders = std::fs::read_dir(folder).ok()?.flatten();
    let names = folders.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name());
    names.map(|name| name.to_string_lossy().into_owned()).min()
}

/// Whether `name` is a WordNet id, as ImageNet's classes are called: `n02085620`.
fn is_wnid(name: &str) -> bool {
    let digits = name.strip_prefix('n').unwrap_or_default();
    digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a folder's images have splits already, as folders or as a list: these are no classes, even where one is
/// missing.
fn has_splits(root: &Path) -> bool {
    let folders = ["train", "test", "val", "valid", "validation"];
    root.join(split_list::FILE).is_file() || folders.iter().any(|split| root.join(split).is_dir())
}

/// Draws splits and writes their list; returns its path.
fn draw(root: &Path, Shares { test, val, seed }: Shares) -> Result<PathBuf> {
    for (flag, share, least) in [("--test", test, f64::MIN_POSITIVE), ("--val", val, 0.0)] {
        if !(share >= least && test + val < 1.0) {
            let expected = "a share below 1 with what is left to train on";
            return Err(usage(format!("{flag}: got {share}, expected {expected}")));
        }
    }
    let splits = SplitList::draw(root, test, val, seed)?;
    let path = root.join(split_list::FILE);
    let text = splits.to_csv();
    sib_core::checkpoint::write_atomic(&path, |file| file.write_all(text.as_bytes()))
        .context("the splits are a list beside the images")?;
    Ok(path)
}

/// Median length of the short sides of a few images, evenly spread.
fn short_side(images: &Dataset) -> Result<u32> {
    let few = images.clone().limit(LOOKED_AT);
    let sides = few.records.iter().map(|record| {
        let image = record.source.load()?;
        Ok(image.width().min(image.height()))
    });
    let mut sides = sides.collect::<Result<Vec<u32>, sib_core::Error>>()?;
    sides.sort_unstable();
    Ok(sides[sides.len() / 2])
}
