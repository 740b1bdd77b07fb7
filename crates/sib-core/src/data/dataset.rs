//! A split of a dataset as plain data.

use std::path::{Path, PathBuf};

use image::RgbImage;
use rand::seq::SliceRandom;

use super::bbox::BBox;
use super::fault::Fault;
use super::layout;
use super::source::{MaskSource, Source};
use super::split::Split;
use crate::random::{Use, stream};
use crate::{Error, Result, classes};

/// One labelled image and what is known of where its object is.
#[derive(Debug, Clone)]
pub struct Record {
    /// Unique within the dataset and stable between machines: a relative path or a running number.
    pub id: String,
    /// Where the pixels come from.
    pub source: Source,
    /// Index into [`Dataset::classes`].
    pub label: usize,
    /// Boxes around the object(s), in pixels of the image as stored. Empty where none are known.
    pub boxes: Vec<BBox>,
    /// Why there are none although the dataset has some for the image: what is wrong with them.
    pub box_fault: Option<Fault>,
    /// Segmentation of the object, at the size of the image as stored.
    pub mask: Option<MaskSource>,
}

impl Record {
    /// An image without boxes or mask.
    pub fn new(id: impl Into<String>, label: usize, source: Source) -> Self {
        Self { id: id.into(), source, label, boxes: Vec::new(), box_fault: None, mask: None }
    }

    /// An image in memory, which errors call by its id.
    pub fn in_memory(id: impl Into<String>, label: usize, image: RgbImage) -> Self {
        let id = id.into();
        Self::new(id.clone(), label, Source::in_memory(id, image))
    }

    /// The record with these boxes. An empty box is a fault of the record, as in an annotation file.
    #[must_use]
    pub fn with_boxes(self, boxes: Vec<BBox>) -> Self {
        let checked = boxes.into_iter().map(BBox::checked).collect::<Result<_, _>>();
        let file = PathBuf::from(&self.id);
        self.with_read_boxes(checked.map_err(|problem| Fault { file, problem }))
    }

    /// The record with this segmentation.
    #[must_use]
    pub fn with_mask(self, mask: MaskSource) -> Self {
        Self { mask: Some(mask), ..self }
    }

    /// The record with the boxes of its annotation, or with what is wrong with that.
    pub(super) fn with_read_boxes(mut self, read: Result<Vec<BBox>, Fault>) -> Self {
        match read {
            Ok(boxes) => self.boxes = boxes,
            Err(fault) => self.box_fault = Some(fault),
        }
        self
    }
}

/// A split of a dataset: data, with nothing decoded yet.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The dataset's name.
    pub name: String,
    /// Which split of it.
    pub split: Split,
    /// Class names; the same for both splits.
    pub classes: Vec<String>,
    /// The images.
    pub records: Vec<Record>,
    /// Images that the split's lists name and that are not there, by their paths from the root.
    /// Empty unless [`DataOptions::allow_missing`](super::DataOptions::allow_missing).
    pub missing: Vec<String>,
    /// Files in the split's folders that are no images by their names, by their paths from the root;
    /// hidden ones are not counted. Empty where lists name the images.
    pub ignored: Vec<String>,
    /// Images of a folder that its list of splits does not name.
    pub unlisted: Vec<String>,
}

impl Dataset {
    /// A split of one's own records. `name` is what errors and logs call the dataset.
    ///
    /// # Errors
    /// Where an id or a class name stands twice, a label is no index into `classes`, there is no
    /// record, and where a class of [`Split::Train`] has none.
    pub fn new(
        name: impl Into<String>,
        split: Split,
        classes: Vec<String>,
        records: Vec<Record>,
    ) -> Result<Self> {
        let name = name.into();
        layout::expect_distinct("image", records.iter().map(|record| record.id.as_str()))
            .map_err(|problem| Error::malformed(&name, problem))?;
        Self::of(&name, split, classes, records).checked(Path::new(&name))
    }

    /// A split of which everything is there, not checked.
    pub(super) fn of(name: &str, split: Split, classes: Vec<String>, records: Vec<Record>) -> Self {
        let name = name.to_owned();
        let nothing = Vec::new;
        let (missing, ignored, unlisted) = (nothing(), nothing(), nothing());
        Self { name, split, classes, records, missing, ignored, unlisted }
    }

    /// Number of images of each class, in the order of [`Dataset::classes`].
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for record in &self.records {
            counts[record.label] += 1;
        }
        counts
    }

    /// Keeps at most `n` records: of every class the same share, evenly spaced over the class.
    #[must_use]
    pub fn limit(mut self, n: usize) -> Self {
        let len = self.records.len();
        if n < len {
            let mut by_class: Vec<usize> = (0..len).collect();
            by_class.sort_by_key(|&index| self.records[index].label);
            let mut kept = vec![false; len];
            for i in 0..n {
                kept[by_class[i * len / n]] = true;
            }
            let mut kept = kept.into_iter();
            self.records.retain(|_| kept.next().unwrap_or_default());
        }
        self
    }

    /// Takes a share of every class out, chosen by `seed`: the second of the two datasets is a
    /// validation set that training has not seen.
    ///
    /// # Errors
    /// Where `frac` is not between 0 and 1, or nothing would be left on one of the sides.
    pub fn hold_out(mut self, frac: f64, seed: u64) -> Result<(Self, Self)> {
        if !(frac > 0.0 && frac < 1.0) {
            return Err(Error::invalid("hold-out fraction", frac, "more than 0 and less than 1"));
        }
        let mut by_class = vec![Vec::new(); self.classes.len()];
        for (index, record) in self.records.iter().enumerate() {
            by_class[record.label].push(index);
        }
        let mut held = vec![false; self.records.len()];
        for (class, mut members) in by_class.into_iter().enumerate() {
            members.shuffle(&mut stream(Use::HoldOut, seed, class as u64, 0));
            let count = (members.len() as f64 * frac).round() as usize;
            for &index in &members[..count.min(members.len().saturating_sub(1))] {
                held[index] = true;
            }
        }
        let mut other = Self::of(&self.name, self.split, self.classes.clone(), Vec::new());
        for (record, held) in std::mem::take(&mut self.records).into_iter().zip(held) {
            if held { &mut other } else { &mut self }.records.push(record);
        }
        if self.records.is_empty() || other.records.is_empty() {
            return Err(Error::invalid(
                "hold-out fraction",
                frac,
                "one that leaves images on both sides",
            ));
        }
        Ok((self, other))
    }

    /// The dataset with labels that index `classes`, as a network was trained on them, instead of
    /// its own.
    ///
    /// # Errors
    /// Where it has images of a class that `classes` does not name, and where `classes` names one
    /// twice.
    pub fn relabelled(mut self, classes: &[String]) -> Result<Self> {
        classes::expect_distinct(classes).map_err(|problem| {
            Error::invalid("classes", format!("a list that {problem}"), "each class once")
        })?;
        let new: Vec<Option<usize>> = self
            .classes
            .iter()
            .map(|class| classes.iter().position(|known| known == class))
            .collect();
        for record in &mut self.records {
            record.label = new[record.label].ok_or_else(|| {
                Error::invalid(
                    "class",
                    format!("\"{}\" of {}", self.classes[record.label], self.name),
                    format!("one of the {} classes of the network", classes.len()),
                )
            })?;
        }
        self.classes = classes.to_vec();
        Ok(self)
    }

    /// What a user of the dataset should know before using it, a line each: what was left out, and
    /// annotations that part of the images lack. Nothing where there is nothing to say.
    pub fn remarks(&self) -> Vec<String> {
        let images = self.records.len();
        let mut remarks = Vec::new();
        let mut listed = |what: &str, paths: &[String]| {
            if let Some(first) = paths.first() {
                let count = paths.len();
                remarks.push(format!("{} split: {count} {what}, such as {first}", self.split));
            }
        };
        listed("files that are no images by their names are left out", &self.ignored);
        listed("images of the lists are not there and are left out", &self.missing);
        listed("images that splits.csv does not name are left out", &self.unlisted);
        let ids = |wanted: fn(&Record) -> bool| -> Vec<String> {
            self.records.iter().filter(|record| wanted(record)).map(|r| r.id.clone()).collect()
        };
        let without_mask = ids(|record| record.mask.is_none());
        if without_mask.len() < images {
            listed(&format!("of {images} images have no mask"), &without_mask);
        }
        listed("images have boxes that cannot be used", &ids(|record| record.box_fault.is_some()));
        remarks
    }

    /// Drops the classes that are not `used`; none of their images is among the records.
    pub(super) fn keep_classes(&mut self, used: &[bool]) {
        let mut next = 0;
        let new: Vec<usize> = used
            .iter()
            .map(|&used| {
                next += usize::from(used);
                next.saturating_sub(1)
            })
            .collect();
        for record in &mut self.records {
            record.label = new[record.label];
        }
        let mut used = used.iter();
        self.classes.retain(|_| used.next().copied().unwrap_or_default());
    }

    /// Checks what every reader must guarantee: labels within the classes, no class named twice, no
    /// empty split, and in training no class without an image.
    pub(super) fn checked(self, root: &Path) -> Result<Self> {
        classes::expect_distinct(&self.classes)
            .map_err(|problem| Error::malformed(root, problem + ", expected distinct names"))?;
        if self.records.is_empty() {
            let others = match &self.ignored[..] {
                [] => String::new(),
                [first, ..] => format!(
                    ", but {} files with other endings than images have, such as {first}",
                    self.ignored.len()
                ),
            };
            let problem = format!("no image in the {} split{others}", self.split);
            return Err(Error::malformed(root, problem));
        }
        let known = self.classes.len();
        if let Some(Record { id, label, .. }) = self.records.iter().find(|r| r.label >= known) {
            let problem = format!("{id} has label {label}, but there are {known} classes");
            return Err(Error::malformed(root, problem));
        }
        if self.split == Split::Train
            && let Some(empty) = self.class_counts().iter().position(|&count| count == 0)
        {
            return Err(Error::malformed(
                root,
                format!("class \"{}\" has no image in the train split", self.classes[empty]),
            ));
        }
        Ok(self)
    }
}
