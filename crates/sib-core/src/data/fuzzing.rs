//! The readers of annotations and lists on bytes alone, for `fuzz/`: part of no interface.

use std::path::Path;

use super::cub200::{self, Boxes};
use super::decode::labels::{MaskRule, foreground_of};
use super::layout::text;
use super::split_list::SplitList;
use super::{cifar100, dogs, folder, pets, voc};

/// A mask of 8 x 8 pixels by each rule.
pub fn mask(bytes: &[u8]) {
    for rule in [MaskRule::Trimap, MaskRule::Majority, MaskRule::NonZero] {
        if let Ok(mask) = foreground_of(bytes, Path::new("mask.png"), (8, 8), rule) {
            assert!(
                mask.dimensions() == (8, 8) && mask.pixels().all(|it| matches!(it.0[0], 0 | 255))
            );
        }
    }
}

/// An annotation in Pascal VOC's XML.
pub fn voc(bytes: &[u8]) {
    let text = text(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
    if let Ok(boxes) = voc::parse(&text) {
        assert!(boxes.iter().all(|bbox| bbox.area() > 0.0 || bbox.is_empty()));
    }
}

/// A list of Stanford Dogs, a MATLAB file.
pub fn mat(bytes: &[u8]) {
    drop(dogs::parse(bytes));
}

/// A batch of CIFAR-100.
pub fn cifar(bytes: &[u8]) {
    if let Ok(labels) = cifar100::parse(bytes, 100) {
        assert!(labels.iter().all(|&label| label < 100));
    }
}

/// The lists that are text: splits and boxes of folders, names and boxes of CUB-200, images of Pets.
pub fn lists(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    drop(SplitList::parse(&text));
    drop(folder::parse_boxes(&text));
    drop(cub200::parse_names(&text, "name"));
    drop(Boxes::parse(&text).of(1));
    drop(pets::parse(&text));
}
