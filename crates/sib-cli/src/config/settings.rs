//! Everything that can be set, and which settings go together.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sib_core::data::{DatasetName, Mix};
use sib_core::objective::SibConfig;
use sib_models::{Arch, ModelOptions};

use super::data::DataConfig;
use super::objective::objective_of;
use super::train::TrainConfig;
use crate::error::usage;

/// Everything that determines a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The configuration that this one changes, or several of which each changes those before it;
    /// relative to this file. Resolved and dropped when the file is read.
    #[serde(skip_serializing)]
    pub extend: Extend,
    /// The network.
    pub model: ModelConfig,
    /// The images.
    pub data: DataConfig,
    /// Training.
    pub train: TrainConfig,
    /// The S-IB terms; absent for plain training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sib: Option<SibConfig>,
}

/// Paths of configurations to start from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "extend: expected a path or a list of paths")]
pub enum Extend {
    /// One.
    One(PathBuf),
    /// Any number, in the order in which they are applied.
    Several(Vec<PathBuf>),
}

impl Default for Extend {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Extend {
    /// In the order in which they are applied.
    pub(super) fn paths(&self) -> &[PathBuf] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }
}

/// The network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Architecture.
    pub arch: Arch,
    /// Initial weights: a checkpoint or any file that `sib-cli import` reads; unset: torchvision's
    /// random initialisation. The head is replaced where the number of classes differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// Dropout, where the architecture has any; what is unset is torchvision's.
    pub options: ModelOptions,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { arch: Arch::ResNet18, weights: None, options: ModelOptions::default() }
    }
}

impl Config {
    /// The configuration as TOML that [`Self::load`] reads back unchanged.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).context("cannot write the configuration as TOML")
    }

    /// Checks every setting.
    pub(super) fn validate(&self) -> Result<()> {
        self.train.validate().map_err(|error| error.within("train"))?;
        self.data.root()?;
        self.data.train_transform()?;
        self.data.mix.map_or(Ok(()), Mix::validate).map_err(|error| error.within("data.mix"))?;
        self.data.synthetic.validate().map_err(|error| error.within("data.synthetic"))?;
        let crop_px = self.data.preprocessing.crop_px;
        self.model.arch.check_image_size(crop_px, crop_px)?;
        if let Some(sib) = self.sib.as_ref().filter(|sib| sib.enabled) {
            objective_of(sib, self.model.arch, crop_px).map_err(|error| error.within("sib"))?;
            if sib.mask.annotation().is_some() && self.data.mix.is_some() {
                return Err(usage(
                    "data.mix: expected none with sib.mask.source = \"annotation\": a mix has no mask",
                ));
            }
            let least = sib.hsic.estimator.min_batch();
            if (self.train.batch_size as i64) < least {
                return Err(usage(format!(
                    "train.batch_size: got {}, expected at least {least} with S-IB: its \
                     foreground term compares the images of a batch",
                    self.train.batch_size
                )));
            }
            if self.train.batch_size_a_rank.is_none() {
                let check = sib.check_batch(self.train.batch_size as u64, 1);
                check.map_err(|error| error.within("sib"))?;
            }
        }
        Ok(())
    }
}

/// λ_fg of the paper: 0.01, but 1e-5 for ViT-B/32 on Pets, Dogs and ImageNet (decision F1).
pub(super) fn paper_lambda_fg(arch: Arch, data: DatasetName) -> f64 {
    match (arch, data) {
        (Arch::VitB32, DatasetName::Pets | DatasetName::Dogs | DatasetName::ImageNet) => 1e-5,
        _ => SibConfig::default().lambda_fg,
    }
}
