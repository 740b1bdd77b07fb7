//! `splits.csv` of a folder: which image is of which split, where splits have no folders of their own.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::class_folders::Image;
use super::dataset::{Dataset, Record};
use super::files::{self, has_image_ending, is_hidden};
use super::layout::{column_of, expect_distinct, list, read_text};
use super::source::Source;
use super::split::Split;
use crate::{Error, Result};

/// The list's name in the folder.
pub const FILE: &str = "splits.csv";

/// Its columns: the image's path from the folder, which begins with the class, and train, val or test.
const COLUMNS: [&str; 2] = ["image", "split"];

/// Which image is of which split, in the order of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitList(Vec<(String, Split)>);

/// The images of a split.
pub(super) struct Listed {
    pub(super) images: Vec<Image>,
    /// How many the list names.
    pub(super) total: usize,
    /// Those that are not there.
    pub(super) missing: Vec<String>,
}

impl SplitList {
    /// The list of `entries`: paths from the folder, as ids are, and their splits.
    ///
    /// # Errors
    /// In words, where a path is not that of an image in a class's folder, or stands twice.
    pub fn new(entries: Vec<(String, Split)>) -> Result<Self, String> {
        if let Some((id, _)) = entries.iter().find(|(id, _)| !is_in_class(id)) {
            return Err(format!("\"{id}\", expected paths such as cat/1.jpg"));
        }
        expect_distinct("image", entries.iter().map(|(id, _)| id.as_str()))?;
        Ok(Self(entries))
    }

    /// The list in the folder `root`; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Malformed`] where it cannot be used, [`Error::Io`] where it cannot be read.
    pub fn of(root: &Path) -> Result<Option<Self>> {
        let path = root.join(FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let parsed = Self::parse(&read_text(&path)?);
        parsed.map(Some).map_err(|problem| Error::malformed(path, problem))
    }

    /// The list of a file's text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| error.to_string())?.clone();
        let place = |column: &str| column_of(&header, column, &COLUMNS);
        let [image, split] = [place(COLUMNS[0])?, place(COLUMNS[1])?];
        let entries = reader.records().map(|row| {
            let row = row.map_err(|error| error.to_string())?;
            let line = row.position().map_or(0, csv::Position::line);
            let split = row[split].parse().map_err(|error| format!("line {line}: {error}"))?;
            Ok((row[image].replace('\\', "/"), split))
        });
        Self::new(entries.collect::<Result<_, String>>()?)
    }

    /// A list for the images of a folder without one, drawn by `seed`: of each class the shares `test` and `val`, rounded,
    /// and at least one image to train on.
    ///
    /// # Errors
    /// [`Error::Malformed`] where there are no images in class folders, [`Error::Invalid`] for shares that leave nothing to
    /// train or to test on.
    pub fn draw(root: &Path, test: f64, val: f64, seed: u64) -> Result<Self> {
        let images = unsorted(root)?;
        let classes: BTreeSet<&str> = images.iter().map(|(id, _)| class(id)).collect();
        let classes: Vec<String> = classes.into_iter().map(str::to_owned).collect();
        let record = |(id, path): (String, PathBuf)| {
            let label = classes.binary_search_by(|known| known.as_str().cmp(class(&id)));
            Record::new(id, label.expect("made of these"), Source::stored(path))
        };
        let records: Vec<Record> = images.into_iter().map(record).collect();
        let all = Dataset::new("folder", Split::Train, classes.clone(), records)
            .map_err(|_| Error::malformed(root, "no images in folders, expected <class>/*"))?;
        let (rest, tested) = all.hold_out(test, seed)?;
        let (train, validated) = if val == 0.0 {
            (rest, None)
        } else {
            let (train, validated) = rest.hold_out(val / (1.0 - test), seed)?;
            (train, Some(validated))
        };
        let of = |dataset: Dataset, split| {
            dataset.records.into_iter().map(move |record| (record.id, split))
        };
        let mut entries: Vec<(String, Split)> = of(train, Split::Train).collect();
        entries.extend(validated.into_iter().flat_map(|it| of(it, Split::Validation)));
        entries.extend(of(tested, Split::Test));
        Self::new(entries).map_err(|problem| Error::malformed(root, problem))
    }

    /// The file's text.
    pub fn to_csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let rows = self.0.iter().map(|(id, split)| [id.as_str(), split.as_str()]);
        for row in [COLUMNS].into_iter().chain(rows) {
            writer.write_record(row).expect("memory takes everything");
        }
        String::from_utf8(writer.into_inner().expect("memory takes everything")).expect("text")
    }

    /// Number of images of a split.
    pub fn count(&self, split: Split) -> usize {
        self.0.iter().filter(|(_, of)| *of == split).count()
    }

    /// The classes of all splits together, sorted.
    pub(super) fn classes(&self) -> Vec<String> {
        let classes: BTreeSet<&str> = self.0.iter().map(|(id, _)| class(id)).collect();
        classes.into_iter().map(str::to_owned).collect()
    }

    /// The images of all splits.
    pub(super) fn ids(&self) -> HashSet<&str> {
        self.0.iter().map(|(id, _)| id.as_str()).collect()
    }

    /// The images of a split, whose labels index `classes`.
    pub(super) fn images(&self, root: &Path, split: Split, classes: &[String]) -> Listed {
        let mut listed = Listed { images: Vec::new(), total: 0, missing: Vec::new() };
        for (id, _) in self.0.iter().filter(|(_, of)| *of == split) {
            let path = root.join(id);
            listed.total += 1;
            match classes.binary_search_by(|known| known.as_str().cmp(class(id))) {
                Ok(label) if path.is_file() => {
                    listed.images.push(Image { label, path, id: id.clone() });
                }
                _ => listed.missing.push(id.clone()),
            }
        }
        listed
    }

    /// Images in the folders of `root` that the list does not name, by their paths from there.
    pub(super) fn unlisted(&self, root: &Path) -> Result<Vec<String>> {
        let known = self.ids();
        let images = unsorted(root)?.into_iter();
        Ok(images.map(|(id, _)| id).filter(|id| !known.contains(id.as_str())).collect())
    }
}

/// Images by class in a folder without splits: everything in `root/<class>/`, at any depth, with its path from the
/// folder; `masks/` is no class.
///
/// # Errors
/// Where a folder cannot be read.
pub fn unsorted(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut images = Vec::new();
    for folder in list(root)?.into_iter().filter(|path| path.is_dir() && !is_hidden(path)) {
        if folder.file_name().is_some_and(|name| name == "masks") {
            continue;
        }
        let found = files::find(&folder)?.images.into_iter();
        images.extend(found.map(|path| (files::relative(&path, root), path)));
    }
    Ok(images)
}

/// The class that an image's id begins with.
fn class(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

/// Whether an id is the path of an image in a folder, and stays in it.
fn is_in_class(id: &str) -> bool {
    // Of one spelling, since ids are compared as text.
    let is_own = |part: &str| !matches!(part, "" | "." | "..") && !is_hidden(Path::new(part));
    let is_plain = id.split('/').all(is_own);
    is_plain && id.contains('/') && has_image_ending(Path::new(id))
}
