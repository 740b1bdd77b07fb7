//! Where the pixels of an image and of its mask come from.

use std::path::PathBuf;
use std::sync::Arc;

use image::{GrayImage, RgbImage};

use super::cifar100::Thumbnail;
use super::decode::labels::{self, MaskRule};
use super::decode::{self, Orientation};
use super::synthetic::{self, Scene};
use crate::Result;

/// The pixels of an image.
#[derive(Debug, Clone)]
pub enum Source {
    /// An image file.
    File {
        /// The file.
        path: PathBuf,
        /// Whether its EXIF orientation is applied.
        orientation: Orientation,
    },
    /// A record of a CIFAR file in memory.
    Cifar(Thumbnail),
    /// An image made on demand.
    Synthetic(Arc<Scene>),
}

impl Source {
    /// A file of a benchmark, read as its annotators and peers read it: pixels as stored.
    pub(crate) fn stored(path: PathBuf) -> Self {
        Self::File { path, orientation: Orientation::AsStored }
    }

    /// Decodes or makes the image.
    ///
    /// # Errors
    /// Where the file cannot be read or is no image; the error names it.
    pub fn load(&self) -> Result<RgbImage> {
        match self {
            Self::File { path, orientation } => decode::rgb(path, *orientation),
            Self::Cifar(thumbnail) => Ok(thumbnail.image()),
            Self::Synthetic(scene) => Ok(scene.image()),
        }
    }

    /// What errors call it: the file.
    pub(crate) fn name(&self) -> PathBuf {
        match self {
            Self::File { path, .. } => path.clone(),
            Self::Cifar(_) => PathBuf::from("CIFAR image"),
            Self::Synthetic(scene) => synthetic::name(scene),
        }
    }
}

/// The pixels of a segmentation.
#[derive(Debug, Clone)]
pub enum MaskSource {
    /// A PNG file of labels.
    File {
        /// The file.
        path: PathBuf,
        /// Its foreground labels.
        rule: MaskRule,
    },
    /// The exact mask of an image made on demand.
    Synthetic(Arc<Scene>),
}

impl MaskSource {
    /// The mask at the size of the stored image: 255 in the foreground, 0 elsewhere.
    ///
    /// # Errors
    /// Where the file cannot be read, is no PNG, has not the image's size, or holds a value that its
    /// rule does not know.
    pub fn load(&self, width: u32, height: u32) -> Result<GrayImage> {
        match self {
            Self::Synthetic(scene) => Ok(scene.mask()),
            Self::File { path, rule } => labels::foreground(path, (width, height), *rule),
        }
    }
}
