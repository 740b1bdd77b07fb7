//! `sib-cli import`: weights of other software as a checkpoint.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use clap::Args;
use sib_core::checkpoint::{CheckpointMeta, Preprocessing};
use sib_core::classes;
use sib_core::data::Transform;
use sib_models::{Arch, LoadReport, Model, ModelOptions, Selection};
use tch::Device;

use crate::checkpoint::{IMAGENET, own_meta};
use crate::error::{usage, with_hint};
use crate::note;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// State dict: .pth or .pt of PyTorch (torchvision or timm names), .safetensors, or a checkpoint,
    /// whose classes and preprocessing are kept where no flag says otherwise
    weights: PathBuf,
    /// Architecture
    #[arg(long, help = format!("Architecture: {}", Arch::names()))]
    arch: Arch,
    /// Checkpoint to write
    #[arg(long, value_name = "CKPT")]
    output: PathBuf,
    /// Replace the output where it is there
    #[arg(long)]
    overwrite: bool,
    /// Of a file with several state dicts, the one to take: its key, or the prefix of its tensors, such as
    /// state_dict_ema or student
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// A module of the file that takes no part in the logits and is left out (may be repeated)
    #[arg(long, value_name = "MODULE")]
    ignore: Vec<String>,
    /// Class names, a line each, in the order of the logits
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Give the network a fresh head with this many classes
    #[arg(long, conflicts_with = "classes", value_parser = clap::value_parser!(i64).range(1..))]
    num_classes: Option<i64>,
    /// Short side of images after resizing [default: 256]
    #[arg(long)]
    resize_px: Option<i64>,
    /// Side of the central crop [default: 224]
    #[arg(long)]
    crop_px: Option<i64>,
    /// Mean of R, G, B in [0,1] [default: ImageNet's, 0.485,0.456,0.406]
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', num_args = 1)]
    mean: Option<Vec<f64>>,
    /// Standard deviation of R, G, B [default: ImageNet's, 0.229,0.224,0.225]
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', num_args = 1)]
    std: Option<Vec<f64>>,
}

/// Reads, reports every key that did not simply fit, writes.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { weights, arch, output, .. } = arguments;
    expect_free(output, arguments.overwrite)?;
    let kept = own_meta(weights)?;
    let preprocessing = preprocessing(arguments, kept.as_ref())?;
    arch.check_image_size(preprocessing.crop_px, preprocessing.crop_px)?;
    let named = arguments.classes.as_deref().map(classes::read).transpose()?;
    let selection = Selection { key: arguments.key.clone(), ignore: arguments.ignore.clone() };
    let (model, report) = Model::import_selected(
        weights,
        &selection,
        *arch,
        arguments.num_classes,
        Device::Cpu,
        &ModelOptions::default(),
    )?;
    if let Some(named) = &named
        && named.len() as i64 != model.num_classes()
    {
        return Err(usage(format!(
            "--classes: {} names, expected one for each of the {} logits",
            named.len(),
            model.num_classes()
        )));
    }
    note!("{}: {report}", weights.display());
    let kept = kept.unwrap_or_default();
    let classes = named.unwrap_or_else(|| classes_kept(&kept, &model, &report));
    if !kept.arch.is_empty() {
        note!(
            "{}: a checkpoint: kept {} class names and the preprocessing, where no flag changes it",
            weights.display(),
            classes.len()
        );
    }
    let meta = CheckpointMeta {
        arch: arch.name().to_owned(),
        classes,
        preprocessing,
        config: kept.config,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..CheckpointMeta::default()
    };
    super::remove_drafts_of(output);
    model.save(output, &meta)?;
    note!("written: {}", output.display());
    Ok(())
}

/// Checks that `output` can be written without loss of what is there.
fn expect_free(output: &Path, overwrite: bool) -> Result<()> {
    if output.is_dir() {
        return Err(usage(format!("--output: {} is a folder, expected a file", output.display())));
    }
    if output.exists() && !overwrite {
        let error = anyhow!("{}: is there already", output.display());
        return Err(with_hint(error, "--overwrite replaces it"));
    }
    match output.parent() {
        Some(folder) if folder != Path::new("") && !folder.is_dir() => {
            Err(anyhow!("{}: no such folder, expected one for --output", folder.display()))
        }
        _ => Ok(()),
    }
}

fn preprocessing(arguments: &Arguments, kept: Option<&CheckpointMeta>) -> Result<Preprocessing> {
    let default = kept.map_or(IMAGENET, |meta| meta.preprocessing.clone());
    let preprocessing = Preprocessing {
        resize_px: arguments.resize_px.unwrap_or(default.resize_px),
        crop_px: arguments.crop_px.unwrap_or(default.crop_px),
        mean: three("--mean", arguments.mean.as_deref(), default.mean)?,
        std: three("--std", arguments.std.as_deref(), default.std)?,
    };
    Transform::matching(&preprocessing)?;
    Ok(preprocessing)
}

fn three(flag: &str, values: Option<&[f64]>, default: [f64; 3]) -> Result<[f64; 3]> {
    let Some(values) = values else { return Ok(default) };
    let three = values.try_into().map_err(|_| {
        usage(format!("{flag}: got {} values, expected three: R,G,B", values.len()))
    })?;
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(usage(format!("{flag}: got {value}, expected finite numbers"))),
        None => Ok(three),
    }
}

/// The class names of the checkpoint `kept`, where the network still has its head.
fn classes_kept(kept: &CheckpointMeta, model: &Model, report: &LoadReport) -> Vec<String> {
    let is_whole = report.replaced.is_empty() && report.missing.is_empty();
    let fits = is_whole && kept.classes.len() as i64 == model.num_classes();
    if fits { kept.classes.clone() } else { Vec::new() }
}
