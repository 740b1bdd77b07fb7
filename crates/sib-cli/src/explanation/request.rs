//! What is explained.

use std::path::{Path, PathBuf};

use sib_core::data::transform::LoadedImage;
use sib_explain::render::Style;
use sib_explain::{Method, MethodOptions};
use sib_models::Precision;
use tch::Device;

use super::folder;

/// What is to be explained, and how it is shown.
#[derive(Debug)]
pub struct Request {
    /// The network: a file, or the folder of a run.
    pub checkpoint: PathBuf,
    /// A second network, which stands before the first.
    pub compare: Option<PathBuf>,
    /// Images, or folders of images.
    pub images: Vec<PathBuf>,
    /// What makes the heatmaps.
    pub methods: Vec<Method>,
    /// Options of the methods.
    pub options: MethodOptions,
    /// `predicted`, a class name or a class index.
    pub target: String,
    /// How overlays look.
    pub style: Style,
    /// Images a contact sheet; 0 for no sheet.
    pub sheet_images: usize,
    /// Numbers of passes without gradient.
    pub precision: Precision,
    /// Device of the networks.
    pub device: Device,
}

/// Images that are in memory at a time.
pub(super) const CHUNK: usize = 16;

/// An image that is explained.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) path: &'a Path,
    /// What the names of its files begin with.
    pub(super) stem: &'a str,
    pub(super) image: LoadedImage,
}

impl Input<'_> {
    pub(super) fn described(&self) -> folder::Image {
        folder::Image { path: self.path.to_owned(), stem: self.stem.to_owned() }
    }
}
