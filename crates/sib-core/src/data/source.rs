//! Where the pixels of an image and of its mask come from.

use std::fmt::{self, Debug};
use std::path::PathBuf;
use std::sync::Arc;

use image::{GrayImage, Luma, RgbImage};

use super::decode::labels::{self, MaskRule};
use super::decode::{self, Orientation};
use crate::{Error, Result};

/// Gives an image that is no file of its own: a reader of an archive, a generator, an image in memory.
pub trait ReadImage: Debug + Send + Sync {
    /// What errors call the image.
    fn name(&self) -> String;

    /// The pixels, the same on each call; from several threads at once.
    ///
    /// # Errors
    /// Where the image cannot be had; the error names it.
    fn read(&self) -> Result<RgbImage>;

    /// Whether the pixels follow from the settings of the dataset, so that they cannot become others
    /// behind its back.
    fn is_generated(&self) -> bool {
        false
    }
}

/// Gives the segmentation of an image; the counterpart of [`ReadImage`].
pub trait ReadMask: Debug + Send + Sync {
    /// What errors call the mask.
    fn name(&self) -> String;

    /// The mask, at the size of the image: 0 is background, every other value foreground.
    ///
    /// # Errors
    /// Where the mask cannot be had; the error names it.
    fn read(&self) -> Result<GrayImage>;

    /// As [`ReadImage::is_generated`].
    fn is_generated(&self) -> bool {
        false
    }
}

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
    /// Whatever else gives images.
    Reader(Arc<dyn ReadImage>),
}

impl Source {
    /// A file of a benchmark, read as its annotators and peers read it: pixels as stored.
    pub(crate) fn stored(path: PathBuf) -> Self {
        Self::File { path, orientation: Orientation::AsStored }
    }

    /// An image in memory; errors call it by `name`.
    pub fn in_memory(name: impl Into<String>, image: RgbImage) -> Self {
        Self::Reader(Arc::new(InMemory { name: name.into(), image }))
    }

    /// Decodes or makes the image.
    ///
    /// # Errors
    /// Where the file cannot be read or is no image; the error names it.
    pub fn load(&self) -> Result<RgbImage> {
        match self {
            Self::File { path, orientation } => decode::rgb(path, *orientation),
            Self::Reader(reader) => reader.read(),
        }
    }

    /// What errors call it: the file.
    pub(crate) fn name(&self) -> PathBuf {
        match self {
            Self::File { path, .. } => path.clone(),
            Self::Reader(reader) => PathBuf::from(reader.name()),
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
    /// Whatever else gives masks.
    Reader(Arc<dyn ReadMask>),
}

impl MaskSource {
    /// A mask in memory, 0 in the background; errors call it by `name`.
    pub fn in_memory(name: impl Into<String>, mask: GrayImage) -> Self {
        Self::Reader(Arc::new(InMemory { name: name.into(), image: mask }))
    }

    /// The mask at the size of the stored image: 255 in the foreground, 0 elsewhere.
    ///
    /// # Errors
    /// Where the file cannot be read, is no PNG, has not the image's size, or holds a value that its
    /// rule does not know.
    pub fn load(&self, width: u32, height: u32) -> Result<GrayImage> {
        let reader = match self {
            Self::File { path, rule } => return labels::foreground(path, (width, height), *rule),
            Self::Reader(reader) => reader,
        };
        let mut mask = reader.read()?;
        labels::expect_size_of_image(mask.dimensions(), (width, height))
            .map_err(|problem| Error::malformed(reader.name(), problem))?;
        for Luma([value]) in mask.pixels_mut() {
            *value = if *value > 0 { 255 } else { 0 };
        }
        Ok(mask)
    }
}

/// An image or a mask in memory.
struct InMemory<I> {
    name: String,
    image: I,
}

impl<I> Debug for InMemory<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ReadImage for InMemory<RgbImage> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self) -> Result<RgbImage> {
        Ok(self.image.clone())
    }
}

impl ReadMask for InMemory<GrayImage> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self) -> Result<GrayImage> {
        Ok(self.image.clone())
    }
}
