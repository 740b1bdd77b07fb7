//! Settings of training: one table of a file, of which parts go to the library and parts are this program's.

use serde::{Deserialize, Serialize};
use sib_core::train::{
    BestValue, FitConfig, OptimizerConfig, Precision, ScheduleConfig, UpdateConfig,
};
use sib_core::{Error, Result};

/// Training; the defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training split.
    pub epochs: u64,
    /// Images a batch, of all processes together; at least 2 with S-IB, whose HSIC compares the images of a batch.
    pub batch_size: usize,
    /// Images a batch for each process; `batch_size` then follows from their number. Unset: the other way round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size_a_rank: Option<usize>,
    /// See [`UpdateConfig::sync_batch_norm`].
    pub sync_batch_norm: bool,
    /// See [`FitConfig::accumulate_batches`].
    pub accumulate_batches: u64,
    /// See [`UpdateConfig::checkpoint_blocks`].
    pub checkpoint_blocks: bool,
    /// See [`UpdateConfig::precision`].
    pub precision: Precision,
    /// Of the initial weights, the order of the images, their augmentation, and dropout.
    pub seed: u64,
    /// On a GPU take algorithms that give the same bits each time, where libtorch has them, instead of the fastest.
    pub deterministic: bool,
    /// See [`UpdateConfig::ema_decay`]; what is kept as `best` is then the average.
    pub ema_decay: Option<f64>,
    /// See [`UpdateConfig::label_smoothing`].
    pub label_smoothing: f64,
    /// See [`UpdateConfig::clip_norm`].
    pub clip_norm: Option<f64>,
    /// Update rule.
    pub optimizer: OptimizerConfig,
    /// Learning-rate schedule.
    pub schedule: ScheduleConfig,
    /// What keeps its initial weights: `backbone`, all but the final layer, or prefixes of state-dict keys,
    /// one or a list. Unset: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// Factor of the final layer's learning rate, above 0. Unset: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_lr_factor: Option<f64>,
    /// Log every k-th step; at least 1.
    pub log_every_steps: u64,
    /// See [`UpdateConfig::log_gradient_norms`].
    pub log_gradient_norms: u64,
    /// With each evaluation, log the information between regions of image and R (Fig. 1a of the paper);
    /// costs one backward pass a batch.
    pub log_information: bool,
    /// Evaluate top-1 and top-5 on the test split, and on the validation split where there is one, every
    /// k-th epoch and after the last; at least 1.
    pub evaluate_every_epochs: u64,
    /// The metric by which `best` is chosen and training stopped early: of the validation split, of the
    /// test split where there is none.
    pub best_metric: String,
    /// Which of its values is the best.
    pub best_value: BestValue,
    /// See [`FitConfig::early_stop_epochs`].
    pub early_stop_epochs: Option<u64>,
    /// See [`FitConfig::max_hours`].
    pub max_hours: Option<f64>,
    /// Save `last` this often within an epoch too, in minutes; it is saved after every epoch anyway.
    pub checkpoint_every_minutes: f64,
    /// Write the metrics as a TensorBoard event file too.
    pub tensorboard: bool,
}

/// What is not trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"backbone\", a state-dict prefix or a list of them")]
pub enum Freeze {
    /// One.
    One(String),
    /// Any number.
    Several(Vec<String>),
}

impl Freeze {
    /// Stands for everything but the final layer.
    const BACKBONE: &str = "backbone";

    /// Prefixes of the state-dict `keys` that are meant, where the final layer is `head`.
    pub fn prefixes<'k>(&self, keys: impl Iterator<Item = &'k String>, head: &str) -> Vec<String> {
        let named = match self {
            Self::One(prefix) => std::slice::from_ref(prefix),
            Self::Several(prefixes) => prefixes,
        };
        let (backbone, mut prefixes): (Vec<_>, Vec<_>) =
            named.iter().cloned().partition(|prefix| prefix == Self::BACKBONE);
        if !backbone.is_empty() {
            let head = format!("{head}.");
            prefixes.extend(keys.filter(|key| !key.starts_with(&head)).cloned());
        }
        prefixes
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        let fit = FitConfig::default();
        let update = fit.update;
        Self {
            epochs: fit.epochs,
            batch_size: 64,
            batch_size_a_rank: None,
            sync_batch_norm: update.sync_batch_norm,
            accumulate_batches: fit.accumulate_batches,
            checkpoint_blocks: update.checkpoint_blocks,
            precision: update.precision,
            seed: update.seed,
            deterministic: false,
            ema_decay: update.ema_decay,
            label_smoothing: update.label_smoothing,
            clip_norm: update.clip_norm,
            optimizer: update.optimizer,
            schedule: update.schedule,
            freeze: None,
            head_lr_factor: None,
            log_every_steps: 1,
            log_gradient_norms: update.log_gradient_norms,
            log_information: false,
            evaluate_every_epochs: fit.evaluate_every_epochs,
            best_metric: fit.best_metric,
            best_value: fit.best_value,
            early_stop_epochs: fit.early_stop_epochs,
            max_hours: fit.max_hours,
            checkpoint_every_minutes: 10.0,
            tensorboard: true,
        }
    }
}

impl TrainConfig {
    /// The settings for so many processes.
    pub fn spread_over(&mut self, processes: usize) {
        if let Some(own) = self.batch_size_a_rank {
            self.batch_size = own * processes;
        }
    }

    /// The library's part, where the final layer of the network is `head`.
    pub fn fit(&self, head: &str) -> FitConfig {
        let head_factor = self.head_lr_factor.map(|factor| (head.to_owned(), factor));
        FitConfig {
            epochs: self.epochs,
            accumulate_batches: self.accumulate_batches,
            evaluate_every_epochs: self.evaluate_every_epochs,
            best_metric: self.best_metric.clone(),
            best_value: self.best_value,
            early_stop_epochs: self.early_stop_epochs,
            max_hours: self.max_hours,
            update: UpdateConfig {
                checkpoint_blocks: self.checkpoint_blocks,
                precision: self.precision,
                sync_batch_norm: self.sync_batch_norm,
                seed: self.seed,
                ema_decay: self.ema_decay,
                label_smoothing: self.label_smoothing,
                clip_norm: self.clip_norm,
                optimizer: self.optimizer.clone(),
                learning_rate_factors: head_factor.into_iter().collect(),
                schedule: self.schedule.clone(),
                log_gradient_norms: self.log_gradient_norms,
            },
        }
    }

    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(&self) -> Result<()> {
        for (key, value) in
            [("batch_size", self.batch_size as u64), ("log_every_steps", self.log_every_steps)]
        {
            if value == 0 {
                return Err(Error::invalid(key, value, "at least 1"));
            }
        }
        for (key, value) in [
            ("checkpoint_every_minutes", self.checkpoint_every_minutes),
            ("head_lr_factor", self.head_lr_factor.unwrap_or(1.0)),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::invalid(key, value, "a number above 0"));
            }
        }
        self.fit("").validate()
    }
}
