//! Built-in benchmark: a textured object of one of ten classes on a textured background, with its
//! exact mask.
//!
//! A class is a shape and a texture of the object. The background has one of ten textures of its
//! own kind, one for each class: it agrees with the class with probability
//! [`SyntheticOptions::rho`] in training, and by chance (1 in 10) in the test split, so that a
//! network which looks at the background loses accuracy there. Colours, pose, size, light and noise
//! are random and say nothing of the class. Images are made on demand from (seed, split, index).

pub(super) mod options;
mod scene;
mod shape;
mod texture;

use std::path::Path;
use std::sync::Arc;

use image::{GrayImage, RgbImage};
use rayon::prelude::*;

pub use options::{CLASSES, SyntheticOptions};
pub(super) use scene::Scene;

use super::dataset::{Dataset, Record};
use super::ground_truth::GroundTruth;
use super::options::DataOptions;
use super::source::{MaskSource, ReadImage, ReadMask, Source};
use super::spec::{Root, Spec, Validation};
use super::split::Split;
use crate::Result;

pub(super) const SPEC: Spec = Spec {
    name: "synthetic",
    title: "synthetic",
    full_name: "synthetic: textured objects on textured backgrounds",
    reference: "none",
    classes: Some(CLASSES),
    train_images: Some(options::TRAIN_IMAGES),
    test_images: Some(options::TEST_IMAGES),
    annotations: "exact masks and boxes",
    ground_truth: Some(GroundTruth::Mask),
    size: "nothing: generated from a seed",
    licence: "that of this software",
    published: "built in",
    unpack: "nothing",
    layout: "no root",
    root: Root::BuiltIn,
    validation: Validation::Nothing,
    open,
};

/// Class names: object texture and shape.
const NAMES: [&str; CLASSES] = [
    "striped-disc",
    "checked-square",
    "dotted-triangle",
    "ringed-star",
    "zigzag-cross",
    "gridded-ring",
    "bricked-hexagon",
    "rayed-crescent",
    "blotched-heart",
    "woven-capsule",
];

fn open(_: &Path, split: Split, DataOptions { synthetic, .. }: &DataOptions) -> Result<Dataset> {
    synthetic.validate().map_err(|error| error.within(SPEC.name))?;
    let options = Arc::new(synthetic.clone());
    let images = match split {
        Split::Train => options.train_images,
        Split::Test | Split::Validation => options.test_images,
    };
    let records = (0..images)
        .into_par_iter()
        .map(|index| {
            let scene = Arc::new(Scene::new(Arc::clone(&options), split, index));
            let (class, bbox) = (scene.class(), scene.bbox());
            let source = Source::Reader(Arc::clone(&scene) as Arc<dyn ReadImage>);
            Record::new(format!("{split}/{index:06}"), class, source)
                .with_boxes(bbox.into_iter().collect())
                .with_mask(MaskSource::Reader(scene))
        })
        .collect();
    Ok(Dataset::of(SPEC.name, split, NAMES.map(str::to_owned).to_vec(), records))
}

impl ReadImage for Scene {
    fn name(&self) -> String {
        format!("synthetic {self}")
    }

    fn read(&self) -> Result<RgbImage> {
        Ok(self.image())
    }

    fn is_generated(&self) -> bool {
        true
    }
}

impl ReadMask for Scene {
    fn name(&self) -> String {
        format!("mask of synthetic {self}")
    }

    fn read(&self) -> Result<GrayImage> {
        Ok(self.mask())
    }

    fn is_generated(&self) -> bool {
        true
    }
}
