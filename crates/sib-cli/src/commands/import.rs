//! `sib-cli import`: weights of other software as a checkpoint.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use sib_core::checkpoint::{CheckpointMeta, Preprocessing};
use sib_core::data::Transform;
use sib_models::{Arch, Model, ModelOptions};
use tch::Device;

use crate::error::usage;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// State dict: .pth or .pt of PyTorch (torchvision or timm names), or .safetensors
    weights: PathBuf,
    /// Architecture: resnet18, resnet50, densenet121 or vit_b_32
    #[arg(long)]
    arch: Arch,
    /// Checkpoint to write
    #[arg(long, value_name = "CKPT")]
    output: PathBuf,
    /// Class names, a line each, in the order of the logits
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Give the network a fresh head with this many classes
    #[arg(long, conflicts_with = "classes", value_parser = clap::value_parser!(i64).range(1..))]
    num_classes: Option<i64>,
    /// Short side of images after resizing
    #[arg(long, default_value_t = 256)]
    resize_px: i64,
    /// Side of the central crop
    #[arg(long, default_value_t = 224)]
    crop_px: i64,
    /// Mean of R, G, B in [0,1] [default: ImageNet's]
    #[arg(long, value_delimiter = ',', num_args = 1, default_value = "0.485,0.456,0.406")]
    mean: Vec<f64>,
    /// Standard deviation of R, G, B [default: ImageNet's]
    #[arg(long, value_delimiter = ',', num_args = 1, default_value = "0.229,0.224,0.225")]
    std: Vec<f64>,
}

/// Reads, reports every key that did not simply fit, writes.
pub fn run(arguments: &Arguments) -> Result<()> {
    let preprocessing = Preprocessing {
        resize_px: arguments.resize_px,
        crop_px: arguments.crop_px,
        mean: three("--mean", &arguments.mean)?,
        std: three("--std", &arguments.std)?,
    };
    Transform::matching(&preprocessing)?;
    arguments.arch.check_image_size(arguments.crop_px, arguments.crop_px)?;
    let classes = arguments.classes.as_deref().map(class_names).transpose()?.unwrap_or_default();
    let (model, report) = Model::import(
        &arguments.weights,
        arguments.arch,
        arguments.num_classes,
        Device::Cpu,
        &ModelOptions::default(),
    )?;
    if !classes.is_empty() && classes.len() as i64 != model.num_classes() {
        return Err(usage(format!(
            "--classes: {} names, expected one for each of the {} logits",
            classes.len(),
            model.num_classes()
        )));
    }
    eprintln!("{}: {report}", arguments.weights.display());
    let meta = CheckpointMeta {
        arch: arguments.arch.name().to_owned(),
        classes,
        preprocessing,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..CheckpointMeta::default()
    };
    Ok(model.save(&arguments.output, &meta)?)
}

fn three(flag: &str, values: &[f64]) -> Result<[f64; 3]> {
    values
        .try_into()
        .map_err(|_| usage(format!("{flag}: got {} values, expected three: R,G,B", values.len())))
}

fn class_names(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{}: cannot read", path.display()))?;
    Ok(text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
}
