//! A trained network with all it needs to look at an image.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use sib_core::checkpoint::{CheckpointMeta, Preprocessing, read_meta};
use sib_core::data::Transform;
use sib_core::device::has_bfloat16;
use sib_core::{Backbone, Error, Mode};
use sib_models::{Model, Precision};
use tch::{Device, Kind, Tensor};

use crate::network::StoredConfig;
use crate::note;

/// A network, its classes and its preprocessing.
#[derive(Debug)]
pub struct Checkpoint {
    /// The network, with its variables.
    pub model: Model,
    /// Its inference form: what images go through.
    pub backbone: Box<dyn Backbone>,
    /// What the file says about itself.
    pub meta: CheckpointMeta,
    /// Image to input.
    pub transform: Transform,
    /// Where the network is.
    pub device: Device,
}

/// The checkpoint that a path means: the file itself, or `best` of a run's folder, which is said.
///
/// # Errors
/// When it is a folder without such a file.
pub fn file(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let best = path.join("checkpoints/best.safetensors");
    if !best.is_file() {
        bail!(
            "{}: a folder, expected a checkpoint or the folder of a run with \
             checkpoints/best.safetensors",
            path.display()
        );
    }
    note!("{}: a run, taking {}", path.display(), best.display());
    Ok(best)
}

/// What most public weights expect.
pub const IMAGENET: Preprocessing = Preprocessing {
    resize_px: 256,
    crop_px: 224,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
};

/// What `weights` says of itself, where it is a checkpoint of this project.
///
/// # Errors
/// When it cannot be read.
pub fn own_meta(weights: &Path) -> Result<Option<CheckpointMeta>> {
    match read_meta(weights) {
        Ok(meta) => Ok(Some(meta)),
        Err(Error::NotACheckpoint { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Checkpoint {
    /// Reads the file at `path` onto the device named `device`. Its inference form is in `precision`.
    ///
    /// # Errors
    /// When the device cannot be had, or the file is no checkpoint.
    pub fn open(path: &Path, device: &str, precision: Precision) -> Result<Self> {
        Self::on(sib_core::device::parse(device)?, path, precision)
    }

    /// As [`Self::open`], onto `device`.
    ///
    /// # Errors
    /// When the file is no checkpoint.
    pub fn on(device: Device, path: &Path, precision: Precision) -> Result<Self> {
        let (model, meta) = Model::from_checkpoint(path, device)?;
        if precision == Precision::BF16 && !has_bfloat16(device) {
            note!("--precision bf16: this processor emulates bfloat16, f32 is faster");
        }
        let transform = Transform::matching(&meta.preprocessing)?;
        let crop_px = meta.preprocessing.crop_px;
        model.arch().check_image_size(crop_px, crop_px)?;
        let backbone = model.inference_form(precision);
        Ok(Self { model, backbone, meta, transform, device })
    }

    /// Name of a class; its number where the checkpoint names none.
    pub fn class_name(&self, class: i64) -> String {
        usize::try_from(class)
            .ok()
            .and_then(|index| self.meta.classes.get(index).cloned())
            .unwrap_or_else(|| class.to_string())
    }

    /// What the network is called beside another: S-IB or Baseline, by the configuration that it was
    /// trained with; `unknown` where the file holds none.
    pub fn training(&self, unknown: &'static str) -> &'static str {
        match toml::from_str::<StoredConfig>(&self.meta.config) {
            Ok(config) if !self.meta.config.is_empty() => config.training().title(),
            _ => unknown,
        }
    }

    /// Logits `[B,K]` of normalised `images` `[B,3,H,W]`, on the CPU.
    pub fn logits(&self, images: &Tensor) -> Tensor {
        let images = images.to_device(self.device);
        tch::no_grad(|| self.backbone.forward(&images, Mode::Eval))
            .to_kind(Kind::Float)
            .to_device(Device::Cpu)
    }
}
