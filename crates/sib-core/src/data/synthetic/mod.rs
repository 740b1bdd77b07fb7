//! Built-in benchmark: a textured object of one of ten classes on a textured background, with its
//! exact mask.
//!
//! A class is a shape and a texture of the object. The background has one of ten textures of its
//! own kind, one for each class: it agrees with the class with probability
//! [`SyntheticOptions::rho`] in training, and by chance (1 in 10) in the test split, so that a
//! network which looks at the background loses accuracy there. Colours, pose, size, light and noise
//! are random and say nothing of the class. Images are made on demand from (seed, split, index).

mod scene;
mod shape;
mod texture;

use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use scene::Scene;

use super::{BBox, Dataset, DatasetName, MaskSource, Record, Source, Split};
use crate::{Error, Result};

/// Number of classes, and of background textures.
pub const CLASSES: usize = 10;

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

/// What is generated, and how hard it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticOptions {
    /// Everything follows from it.
    pub seed: u64,
    /// Side of the images.
    pub side_px: u32,
    /// Images of the training split.
    pub train_images: usize,
    /// Images of the test split.
    pub test_images: usize,
    /// Probability that a training image's background is its class's.
    pub rho: f64,
    /// The same for the test split; 0.1 is independence, 1 backgrounds that always agree.
    pub test_rho: f64,
    /// Bounds of the object's diameter as a fraction of the side.
    pub object_frac: [f32; 2],
    /// How far apart the two colours of an object's texture are, in `[0,1]`.
    pub object_contrast: f32,
    /// The same for backgrounds.
    pub background_contrast: f32,
    /// Standard deviation of the pixel noise, in units of the full range.
    pub noise: f32,
}

impl Default for SyntheticOptions {
    fn default() -> Self {
        Self {
            seed: 43,
            side_px: 64,
            train_images: 3000,
            test_images: 1000,
            rho: 0.7,
            test_rho: 0.1,
            object_frac: [0.5, 0.85],
            object_contrast: 0.8,
            background_contrast: 0.5,
            noise: 0.04,
        }
    }
}

impl SyntheticOptions {
    fn check(&self) -> Result<()> {
        let invalid = |key: &str, value: &dyn std::fmt::Display, expected: &str| {
            Err(Error::invalid(format!("data.synthetic.{key}"), value, expected))
        };
        if !(16..=1024).contains(&self.side_px) {
            return invalid("side_px", &self.side_px, "16 to 1024");
        }
        for (key, images) in
            [("train_images", self.train_images), ("test_images", self.test_images)]
        {
            if images < CLASSES {
                return invalid(key, &images, "at least 10, one a class");
            }
        }
        for (key, rho) in [("rho", self.rho), ("test_rho", self.test_rho)] {
            if !(0.0..=1.0).contains(&rho) {
                return invalid(key, &rho, "a probability in [0, 1]");
            }
        }
        let [least, most] = self.object_frac;
        if !(0.1 <= least && least <= most && most <= 1.0) {
            return invalid(
                "object_frac",
                &format!("[{least}, {most}]"),
                "[least, most] with 0.1 <= least <= most <= 1",
            );
        }
        for (key, contrast) in [
            ("object_contrast", self.object_contrast),
            ("background_contrast", self.background_contrast),
            ("noise", self.noise),
        ] {
            if !(0.0..=1.0).contains(&contrast) {
                return invalid(key, &contrast, "a number in [0, 1]");
            }
        }
        Ok(())
    }
}

/// The split `split` of the dataset that `options` describe.
///
/// # Errors
/// Where an option is out of its range.
pub(crate) fn open(split: Split, options: &SyntheticOptions) -> Result<Dataset> {
    options.check()?;
    let options = Arc::new(options.clone());
    let images = match split {
        Split::Train => options.train_images,
        Split::Test | Split::Validation => options.test_images,
    };
    let records = (0..images)
        .into_par_iter()
        .map(|index| {
            let scene = Arc::new(Scene::new(Arc::clone(&options), split, index));
            Record {
                id: format!("{split}/{index:06}"),
                label: scene.class(),
                boxes: scene.bbox().into_iter().collect::<Vec<BBox>>(),
                box_fault: None,
                mask: Some(MaskSource::Synthetic(Arc::clone(&scene))),
                source: Source::Synthetic(scene),
            }
        })
        .collect();
    Ok(Dataset {
        name: DatasetName::Synthetic,
        split,
        classes: NAMES.map(str::to_owned).to_vec(),
        records,
        missing: Vec::new(),
        ignored: Vec::new(),
    })
}

/// What errors call a generated image.
pub(crate) fn name(scene: &Scene) -> PathBuf {
    PathBuf::from(format!("synthetic {scene}"))
}
