//! The configurations of a first run on a folder of images, as text with comments.

use std::path::Path;

use anyhow::Result;
use sib_core::checkpoint::Preprocessing;
use sib_core::data::Split;
use sib_models::Arch;
use toml::Value;

use super::found::Found;
use crate::checkpoint::{IMAGENET, own_meta};
use crate::foreign_text::for_shell;

/// What a first run is made of.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) found: &'a Found,
    pub(crate) arch: Arch,
    pub(crate) weights: Option<&'a Path>,
}

/// Images whose short side is longer are resized to the usual 256 px and cropped to 224.
const LARGE_PX: u32 = 192;
/// Sides of smaller ones are multiples of what networks divide them by.
const STRIDE_PX: u32 = 32;
/// Batches of a first run.
const BATCH: std::ops::RangeInclusive<usize> = 8..=64;
/// Updates an epoch that small datasets should have at least.
const UPDATES: usize = 8;

impl Start<'_> {
    /// The plain run, at `plain`, that `sib` extends; their runs are in `runs/<name>`.
    ///
    /// # Errors
    /// When initial weights cannot be read.
    pub(crate) fn plain(&self, plain: &Path, sib: &Path, name: &str) -> Result<String> {
        let (Preprocessing { resize_px, crop_px, mean, std }, whose) = self.preprocessing()?;
        let missing = self.found.splits.iter().map(|split| split.missing.len()).sum::<usize>();
        let missing = match missing {
            0 => String::new(),
            n => format!("allow_missing = true # {n} images of its lists are not there\n"),
        };
        let (found, quoted) = (self.found, |path: &Path| text(&path.display().to_string()));
        let data = found.name;
        let weights = match self.weights {
            Some(path) => format!("weights = {}", quoted(&std::path::absolute(path)?)),
            None => "# Trained weights help more than any other setting: torchvision's or timm's files, or a checkpoint.\n\
                     # weights = \"resnet18.pth\""
                .to_owned(),
        };
        let root = quoted(&found.root);
        Ok(format!(
            "\
# {summary}.
# Every setting with its default is in configs/reference.toml.
#
#   sib-cli train --config {plain} --output {runs}/baseline
#   sib-cli train --config {sib} --output {runs}/sib
#   for run in baseline sib; do
#     sib-cli evaluate --checkpoint {runs}/$run/checkpoints/last.safetensors --data {data} --root {root_word} \\
#       --suite accuracy,faithfulness{localization} --method all --output {runs}/$run/evaluation
#   done
#   sib-cli report --runs {runs} --output {runs}/report.html

[model]
arch = \"{arch}\"
{weights}

[data]
name = \"{data}\"
root = {root}
{missing}
[data.preprocessing]
resize_px = {resize_px} # short side
crop_px = {crop_px} # centre crop, and the network's input
# {whose}
mean = {mean:?}
std = {std:?}

[train]
epochs = 90
batch_size = {batch}
# A first try in a minute: --set train.epochs=1 --set data.limit_train=64

[train.optimizer]
kind = \"adamw\"
learning_rate = 1e-4

[train.schedule]
kind = \"step\" # × 0.1 every 30 epochs, as in the paper
every_epochs = 30
",
            summary = found.summary(),
            plain = for_shell(&plain.display().to_string()),
            sib = for_shell(&sib.display().to_string()),
            runs = runs(name),
            root_word = for_shell(&found.root.display().to_string()),
            localization = if found.is_annotated(Split::Test) { ",localization" } else { "" },
            arch = self.arch,
            batch = self.batch(),
        ))
    }

    /// The same run with S-IB, at `sib`.
    pub(crate) fn sib(&self, plain: &Path, sib: &Path, name: &str) -> String {
        let base = plain.file_name().unwrap_or_default().to_string_lossy();
        let annotation = if self.found.is_annotated(Split::Train) {
            "\n[sib.mask]\n# The images say where their objects are. S-IB needs none of it; told so, it is another method \
             with rows of its own.\n# source = \"annotation\"\n"
        } else {
            ""
        };
        format!(
            "\
# The same with S-IB.
# sib-cli train --config {sib} --output {runs}/sib
extend = {base}

[sib]
# What docs/evidence.md found to sharpen explanations. \"paper\" is the paper's own setting, whose terms pull far less than
# cross-entropy (train.log_gradient_norms shows it).
preset = \"class-maps\"
{annotation}",
            sib = for_shell(&sib.display().to_string()),
            runs = runs(name),
            base = text(&base),
        )
    }

    /// What images go through, and whose mean and deviation that has.
    fn preprocessing(&self) -> Result<(Preprocessing, &'static str)> {
        let (mut preprocessing, whose) = match self.weights {
            None => (Preprocessing::default(), "The paper's; trained weights have their own."),
            Some(path) => match own_meta(path)? {
                Some(meta) => return Ok((meta.preprocessing, "Those of the initial weights.")),
                None => (IMAGENET, "ImageNet's, as most public weights expect."),
            },
        };
        let short = self.found.short_px;
        if short <= LARGE_PX {
            let side = i64::from((short / STRIDE_PX).max(1) * STRIDE_PX);
            (preprocessing.resize_px, preprocessing.crop_px) = (side, side);
        }
        Ok((preprocessing, whose))
    }

    /// The largest power of two that leaves a few updates an epoch.
    fn batch(&self) -> usize {
        let images = self.found.splits[0].records.len();
        let most = (images / UPDATES).clamp(*BATCH.start(), *BATCH.end());
        1 << most.ilog2()
    }
}

/// The folder of the runs, for a shell.
pub(crate) fn runs(name: &str) -> String {
    for_shell(&format!("runs/{name}")).into_owned()
}

/// A TOML string.
fn text(value: &str) -> String {
    Value::String(value.to_owned()).to_string()
}
