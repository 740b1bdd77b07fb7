//! What an evaluation was asked to do: everything that its numbers depend on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sib_core::data::{DatasetName, Split, SyntheticOptions};
use sib_explain::{Method, MethodOptions};
use sib_metrics::faithfulness::Protocol;
use sib_models::Precision;

use super::suite::Suite;
use super::suites::comparison::Comparison;

/// Which class a heatmap explains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The one that the network predicts.
    #[default]
    Predicted,
    /// The image's label.
    Label,
}

impl Target {
    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Predicted => "predicted",
            Self::Label => "label",
        }
    }
}

/// Everything that the numbers of an evaluation depend on. Two runs of the same settings give the
/// same bytes; an interrupted one is continued with the same settings only.
///
/// Keys that are not known are found by [`super::description::Description::read`]: serde cannot refuse them
/// beside flattened settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Version of this program.
    pub version: String,
    /// SHA-256 of the checkpoint file.
    pub checkpoint_sha256: String,
    /// Dataset.
    pub data: DatasetName,
    /// Folder of the unpacked archive; none for `synthetic`.
    pub root: Option<PathBuf>,
    /// Part of the dataset.
    pub split: Split,
    /// Go on without images that the split files name and that are not there.
    pub allow_missing: bool,
    /// At most this many images: the first of the order that `seed` draws.
    pub limit: Option<usize>,
    /// Seed of the order in which the images are visited.
    pub seed: u64,
    /// Images that go through the network together.
    pub batch_size: usize,
    /// Device of the network.
    pub device: String,
    /// Numbers of work that takes no gradient.
    pub precision: Precision,
    /// What is measured.
    pub suites: Vec<Suite>,
    /// Explainers whose heatmaps are scored.
    pub methods: Vec<Method>,
    /// Folders of heatmaps from elsewhere, by the name that they go by.
    pub heatmaps: BTreeMap<String, PathBuf>,
    /// Which class the heatmaps explain.
    pub target: Target,
    /// How heatmaps and objects are compared.
    #[serde(flatten)]
    pub localization: Comparison,
    /// Insertion and deletion.
    pub faithfulness: Protocol,
    /// Whether they follow calibrated probabilities.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub calibrate: bool,
    /// Settings of the explainers. Those of `s-ib-map` also make R and M of the information suite.
    pub method_options: MethodOptions,
    /// Settings of `synthetic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synthetic: Option<SyntheticOptions>,
}

impl Settings {
    /// Whether the suite is measured.
    pub fn has(&self, suite: Suite) -> bool {
        self.suites.contains(&suite)
    }
}
