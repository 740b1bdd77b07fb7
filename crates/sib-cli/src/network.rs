//! Which network an evaluation is of, as far as its checkpoint says.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sib_core::checkpoint::CheckpointMeta;
use sib_core::objective::MaskOrigin;
use sib_core::{Error, plain_file};

use crate::dotted::{self, Settings};

/// How a network was trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Training {
    /// With cross-entropy alone, or not by this program.
    #[serde(rename = "baseline")]
    Baseline,
    /// With the S-IB terms.
    #[serde(rename = "s-ib")]
    SIb,
    /// The same, but the mask was the dataset's annotation and not the network's own (decision C4).
    #[serde(rename = "s-ib-annotation")]
    SIbAnnotation,
    /// Either with the masks of other images: a control.
    #[serde(rename = "s-ib-shuffled")]
    SIbShuffled,
}

impl Training {
    /// Its place among them all, which its colour goes by.
    pub fn place(self) -> usize {
        self as usize
    }

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::SIb => "s-ib",
            Self::SIbAnnotation => "s-ib-annotation",
            Self::SIbShuffled => "s-ib-shuffled",
        }
    }

    /// The name in figures and reports.
    pub fn title(self) -> &'static str {
        match self {
            Self::Baseline => "Baseline",
            Self::SIb => "S-IB",
            Self::SIbAnnotation => "S-IB by annotation",
            Self::SIbShuffled => "S-IB, masks shuffled",
        }
    }
}

impl fmt::Display for Training {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A network and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// The checkpoint file, as it was named.
    pub checkpoint: PathBuf,
    /// Architecture.
    pub arch: String,
    /// How it was trained.
    pub training: Training,
    /// Seed of its training; none where the checkpoint does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_seed: Option<u64>,
    /// Updates made when it was saved; none where the checkpoint does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Epochs that its training was set to; none where the checkpoint does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// The settings of its training that those of one name share; empty where the checkpoint does not say.
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub recipe: Settings,
}

/// Keys and tables of a training's configuration that make another network of it: not its seed and length, which stand
/// beside it, nor paths, logs and what only costs time.
const RECIPE: [&str; 19] = [
    "sib",
    "model.options",
    "data.augment",
    "data.class_balanced",
    "data.limit_train",
    "data.mix",
    "data.preprocessing",
    "data.trivial_augment",
    "train.accumulate_batches",
    "train.batch_size",
    "train.sync_batch_norm",
    "train.precision",
    "train.freeze",
    "train.head_lr_factor",
    "train.ema_decay",
    "train.label_smoothing",
    "train.clip_norm",
    "train.optimizer",
    "train.schedule",
];

/// What of the `settings` of a training the networks of one name share (decision Q2a). Without S-IB nothing of its table.
pub fn recipe(settings: &Settings) -> Settings {
    let has_sib = settings.get("sib.enabled").is_some_and(|enabled| enabled == "true");
    let is_part = |key: &str| {
        let within = |table: &&str| {
            key.strip_prefix(*table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        RECIPE.iter().find(|table| within(table)).is_some_and(|table| has_sib || *table != "sib")
    };
    let parts = settings.iter().filter(|(key, _)| is_part(key));
    parts.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The parts of a training configuration that evaluations and figures read. Other keys may come and
/// go with the versions.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StoredConfig {
    sib: Option<StoredSib>,
    /// Its `[train]` table.
    pub train: StoredTrain,
    /// Its `[model]` table.
    pub model: StoredModel,
    /// Its `[data]` table.
    pub data: toml::Table,
}

#[derive(Debug, Deserialize)]
struct StoredSib {
    enabled: bool,
    #[serde(default)]
    mask: StoredMask,
}

#[derive(Debug, Default, Deserialize)]
struct StoredMask {
    #[serde(default)]
    source: MaskOrigin,
    #[serde(default)]
    shuffled: bool,
}

/// See [`StoredConfig`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StoredTrain {
    /// Seed of the training.
    pub seed: Option<u64>,
    /// Length of the training.
    pub epochs: Option<u64>,
    /// Images of a batch, in training and in the test after an epoch.
    pub batch_size: Option<u64>,
}

/// See [`StoredConfig`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StoredModel {
    /// Architecture.
    pub arch: String,
}

impl StoredConfig {
    /// The training configuration in the checkpoint at `path`; empty where there is none.
    ///
    /// # Errors
    /// When it is not TOML or a key has another type.
    pub fn of(meta: &CheckpointMeta, path: &Path) -> Result<Self> {
        toml::from_str(&meta.config)
            .with_context(|| format!("{}: its training configuration is damaged", path.display()))
    }

    /// How it trains.
    pub fn training(&self) -> Training {
        match &self.sib {
            Some(sib) if sib.enabled && sib.mask.shuffled => Training::SIbShuffled,
            Some(sib) if sib.enabled => match sib.mask.source {
                MaskOrigin::Network => Training::SIb,
                MaskOrigin::Annotation => Training::SIbAnnotation,
            },
            _ => Training::Baseline,
        }
    }
}

impl Network {
    /// What the checkpoint at `path` says.
    ///
    /// # Errors
    /// When its training configuration is not TOML or a key has another type.
    pub fn of(meta: &CheckpointMeta, path: &Path) -> Result<Self> {
        let config = StoredConfig::of(meta, path)?;
        let settings = dotted::flatten(&toml::from_str(&meta.config)?);
        Ok(Self {
            checkpoint: path.to_owned(),
            arch: meta.arch.clone(),
            training: config.training(),
            train_seed: config.train.seed,
            steps: meta.extra.get("steps").and_then(|steps| steps.parse().ok()),
            epochs: config.train.epochs,
            recipe: recipe(&settings),
        })
    }
}

/// What stands beside a comparison of networks, by their titles, that were trained for different numbers of epochs; `None`
/// where all that are known are the same.
pub fn unlike_lengths<'n>(networks: impl IntoIterator<Item = (&'n str, u64)>) -> Option<String> {
    let mut by_title = Vec::<(&str, BTreeSet<u64>)>::new();
    for (title, epochs) in networks {
        match by_title.iter_mut().find(|known| known.0 == title) {
            Some(known) => known.1.extend([epochs]),
            None => by_title.push((title, BTreeSet::from([epochs]))),
        }
    }
    let all: BTreeSet<u64> = by_title.iter().flat_map(|(_, epochs)| epochs).copied().collect();
    let words = |(title, epochs): &(&str, BTreeSet<u64>)| {
        let noun = if epochs.iter().all(|&epochs| epochs == 1) { "epoch" } else { "epochs" };
        let epochs: Vec<String> = epochs.iter().map(u64::to_string).collect();
        format!("{title} for {} {noun}", epochs.join(" or "))
    };
    let words: Vec<String> = by_title.iter().map(words).collect();
    (all.len() > 1).then(|| format!("trained for different lengths: {}", words.join(", ")))
}

/// SHA-256 of a file, as `sha256sum` prints it.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    plain_file::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut digest))
        .map_err(Error::io("read", path))?;
    Ok(format!("{:x}", digest.finalize()))
}
