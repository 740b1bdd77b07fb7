//! What an evaluation was asked to do: everything that its numbers depend on.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sib_core::Error;
use sib_core::data::{DatasetName, GroundTruth, Split, SyntheticOptions};
use sib_explain::{Method, MethodOptions};
use sib_metrics::Threshold;
use sib_metrics::faithfulness::Protocol;
use sib_metrics::localization::max_box_acc::Contours;
use sib_models::Precision;
use toml::{Table, Value};

use crate::error::{usage, with_hint};

/// A group of metrics that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// Top-1 and top-5.
    Accuracy,
    /// Heatmaps against masks and boxes of the object.
    Localization,
    /// Insertion and deletion of pixels in the order of the heatmaps.
    Faithfulness,
    /// What the regions of R tell of the regions of the image.
    Information,
    /// Whether heatmaps change when the network's last layers are initialised anew.
    Sanity,
}

impl Suite {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 5] =
        [Self::Accuracy, Self::Localization, Self::Faithfulness, Self::Information, Self::Sanity];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Localization => "localization",
            Self::Faithfulness => "faithfulness",
            Self::Information => "information",
            Self::Sanity => "sanity",
        }
    }

    /// Whether it scores heatmaps.
    pub fn needs_heatmaps(self) -> bool {
        matches!(self, Self::Localization | Self::Faithfulness | Self::Sanity)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Suite {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|suite| suite.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::invalid("suite", format!("\"{name}\""), format!("one of {known}"))
        })
    }
}

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

/// Everything that the numbers of an evaluation depend on. Two runs of the same settings give the
/// same bytes; an interrupted one is continued with the same settings only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Annotation that is the ground truth of localization.
    pub ground_truth: GroundTruth,
    /// Rule that makes a binary prediction of a heatmap.
    pub threshold: Threshold,
    /// How far from the object the highest pixel still counts as a hit.
    pub pointing_tolerance_px: f64,
    /// Which borders of a thresholded heatmap give the boxes of MaxBoxAcc.
    pub contours: Contours,
    /// Insertion and deletion.
    pub faithfulness: Protocol,
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

    /// Checks that an evaluation that was begun with `self` can go on with `now`.
    ///
    /// # Errors
    /// Names the first setting that differs and both its values.
    pub fn expect_same(&self, now: &Self) -> Result<()> {
        let mut before = self.clone();
        if before.heatmaps.keys().eq(now.heatmaps.keys()) {
            // What the files hold is compared, not where they are.
            before.heatmaps.clone_from(&now.heatmaps);
        }
        if before == *now {
            return Ok(());
        }
        let table = |settings| Table::try_from(settings).context("cannot compare the settings");
        let (before, now) = (table(&before)?, table(now)?);
        let Some((key, before, now)) = first_difference("", &before, &now) else { return Ok(()) };
        let error =
            usage(format!("{key}: the evaluation was begun with {before}, now it is {now}"));
        Err(with_hint(error, "give the same settings to go on, or another --output"))
    }
}

/// Dotted key and both values of the first entry that is not the same in both tables.
fn first_difference(prefix: &str, a: &Table, b: &Table) -> Option<(String, String, String)> {
    let shown = |value: Option<&Value>| value.map_or("not set".to_owned(), Value::to_string);
    for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
        let path = format!("{prefix}{key}");
        match (a.get(key), b.get(key)) {
            (Some(Value::Table(a)), Some(Value::Table(b))) => {
                if let Some(found) = first_difference(&format!("{path}."), a, b) {
                    return Some(found);
                }
            }
            (a, b) if a == b => {}
            (a, b) => return Some((path, shown(a), shown(b))),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_with_its_path() {
        let table = |text: &str| toml::from_str::<Table>(text).unwrap();
        let a = table("seed = 1\n[method_options.cam]\nlayer = 'x'\n");
        assert_eq!(first_difference("", &a, &a), None);
        let (key, before, now) =
            first_difference("", &a, &table("seed = 1\n[method_options.cam]\n")).unwrap();
        assert_eq!((key.as_str(), now.as_str()), ("method_options.cam.layer", "not set"));
        assert!(before.contains('x'));
        let (key, ..) = first_difference("", &table(""), &table("limit = 3")).unwrap();
        assert_eq!(key, "limit");
    }
}
