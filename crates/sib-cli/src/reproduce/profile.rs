//! What each profile reproduces, as the files in `data/reproduce` say.
//!
//! In their texts `{dataset}`, `{backbone}`, `{seed}`, `{root}` (the folder of the dataset's archive) and
//! `{output}` stand for what a step is of, in evaluations also `{name}` and `{run}`, the name and the folder
//! of the training.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use sib_core::data::DatasetName;
use sib_models::Arch;

/// The profiles by name, the first is the default.
const FILES: [(&str, &str); 6] = [
    ("demo", include_str!("../../data/reproduce/demo.toml")),
    ("mini", include_str!("../../data/reproduce/mini.toml")),
    ("ablation", include_str!("../../data/reproduce/ablation.toml")),
    ("cost", include_str!("../../data/reproduce/cost.toml")),
    ("evidence", include_str!("../../data/reproduce/evidence.toml")),
    ("paper", include_str!("../../data/reproduce/paper.toml")),
];

/// The names of the profiles.
pub(crate) const NAMES: [&str; FILES.len()] =
    [FILES[0].0, FILES[1].0, FILES[2].0, FILES[3].0, FILES[4].0, FILES[5].0];

/// Trainings, what is evaluated of each, and what is shown of all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// What it is and what it costs.
    pub(crate) about: String,
    /// What of it can be chosen.
    pub(crate) options: Vec<Choice>,
    /// Datasets, unless others are chosen.
    pub(crate) datasets: Vec<DatasetName>,
    /// Backbones, unless others are chosen.
    pub(crate) backbones: Vec<Arch>,
    /// Whether networks start from weights of the folder that is given.
    pub(crate) initial_weights: bool,
    /// Settings of all trainings.
    #[serde(default)]
    pub(crate) set: Vec<String>,
    /// Settings of all trainings where this table or figure is wanted.
    #[serde(default)]
    pub(crate) set_for: BTreeMap<String, Vec<String>>,
    /// What is different with backbones other than its own.
    pub(crate) other_backbones: Option<OtherBackbones>,
    /// For each seed, dataset and backbone.
    pub(crate) training: Vec<Training>,
    /// For each training.
    pub(crate) evaluation: Vec<Evaluation>,
    /// For each dataset and backbone, of the first seed.
    pub(crate) pictures: Option<Pictures>,
    /// What is joined of all runs besides tables and figures.
    pub(crate) joined: Option<Joined>,
    /// Files about the networks beside the baseline: of the endings csv and md.
    pub(crate) compared: Option<String>,
}

/// What of a profile can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Choice {
    Tables,
    Figures,
    Datasets,
    Backbones,
    Seeds,
    /// Whether evaluations are as long as [`Evaluation::full`] says.
    Full,
}

/// See [`Profile::other_backbones`]. Such a network starts from scratch where there are no weights for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OtherBackbones {
    pub(crate) set: Vec<String>,
    pub(crate) remark: String,
}

/// One training run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Training {
    /// Its folder below the output's.
    pub(crate) name: String,
    /// Its configuration.
    pub(crate) config: String,
    /// Settings of its own.
    #[serde(default)]
    pub(crate) set: Vec<String>,
    /// A training that must have ended before.
    pub(crate) after: Option<String>,
    /// Whether the evaluations are of it too.
    #[serde(default = "yes")]
    pub(crate) evaluated: bool,
}

fn yes() -> bool {
    true
}

/// An evaluation of a training's last checkpoint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Evaluation {
    pub(crate) folder: String,
    /// Suites, each with the tables and figures that it is for; with none it is always wanted.
    pub(crate) suites: BTreeMap<String, Vec<String>>,
    /// Further arguments of `evaluate`.
    #[serde(default)]
    pub(crate) arguments: Vec<String>,
    /// Those in their place where all of it is asked for.
    pub(crate) full: Option<Vec<String>>,
    /// Whether what takes no gradient is in bf16 where the processor has it.
    #[serde(default)]
    pub(crate) bf16: bool,
    /// Datasets that there is none of.
    #[serde(default)]
    pub(crate) not_of: Vec<DatasetName>,
}

/// Heatmaps of a few test images before and after, for Figures 1b, 3 and 4.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pictures {
    /// What tells them from others.
    #[serde(default)]
    pub(crate) name: String,
    /// How many images.
    pub(crate) images: usize,
    pub(crate) images_folder: String,
    /// Name of the training without S-IB.
    pub(crate) baseline: String,
    /// Name of the training with S-IB.
    pub(crate) sib: String,
    pub(crate) heatmaps_folder: String,
    /// Datasets that there are none of.
    #[serde(default)]
    pub(crate) not_of: Vec<DatasetName>,
}

/// Files about all runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Joined {
    /// The rows of all `summary.csv`, with the run's name in front.
    pub(crate) summaries: String,
    /// Mean norms of the gradients of each run's terms.
    pub(crate) gradient_norms: String,
}

impl Profile {
    /// The profile called `name`, one of [`NAMES`].
    ///
    /// # Errors
    /// When the file that comes with the program is damaged.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let file = FILES.iter().find(|(known, _)| *known == name);
        let (_, text) = file.with_context(|| format!("no profile {name}"))?;
        toml::from_str(text).with_context(|| format!("profile {name} is damaged"))
    }

    /// A line on each profile.
    pub(crate) fn overview() -> String {
        let about = |name: &&str| {
            let about = Self::named(name).map_or_else(|e| format!("{e:#}"), |of| of.about);
            format!("  {name:<10}{about}\n")
        };
        NAMES.iter().map(about).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::{FIGURES, TABLES};

    #[test]
    fn every_profile_is_read_and_names_tables_and_figures_that_there_are() {
        let known: Vec<String> = (TABLES.iter().map(|number| format!("table {number}")))
            .chain(FIGURES.iter().map(|number| format!("figure {number}")))
            .collect();
        for name in NAMES {
            let profile = Profile::named(name).unwrap();
            let of_suites =
                profile.evaluation.iter().flat_map(|evaluation| evaluation.suites.values());
            let named = of_suites.flatten().chain(profile.set_for.keys());
            for shown in named {
                assert!(known.contains(shown), "{name}: {shown}");
            }
            let trainings: Vec<_> =
                profile.training.iter().map(|training| &training.name).collect();
            let pictured = profile.pictures.iter().flat_map(|of| [&of.baseline, &of.sib]);
            let after = profile.training.iter().filter_map(|training| training.after.as_ref());
            for training in pictured.chain(after) {
                assert!(trainings.contains(&training), "{name}: {training}");
            }
        }
    }
}
