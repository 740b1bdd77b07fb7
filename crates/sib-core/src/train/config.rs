//! Settings of training.

use serde::{Deserialize, Serialize};

use super::{OptimizerConfig, ScheduleConfig};
use crate::{Error, Result};

/// Settings of training; the defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training split.
    pub epochs: u64,
    /// Images a batch; at least 2 with S-IB, whose HSIC compares the images of a batch.
    pub batch_size: usize,
    /// Batches an update, whose gradients are averaged; at least 1. Batch statistics and the S-IB
    /// terms are those of each batch by itself: HSIC over 4 batches of 16 is not HSIC over 64.
    pub accumulate_batches: u64,
    /// Keep only the inputs of the network's blocks and compute the rest again for each derivative
    /// ([`recompute`](crate::recompute)): less memory, more time, the same result.
    pub checkpoint_blocks: bool,
    /// Of the initial weights, the order of the images and their augmentation.
    pub seed: u64,
    /// Decay of the weights' exponential moving average, in `[0, 1)`; what is evaluated and kept as
    /// `best` is then the average. Unset: no average.
    pub ema_decay: Option<f64>,
    /// Label smoothing of cross-entropy, in `[0, 1)`.
    pub label_smoothing: f64,
    /// Largest Euclidean norm of the whole gradient; longer ones are shortened. Unset: no limit.
    pub clip_norm: Option<f64>,
    /// Update rule.
    pub optimizer: OptimizerConfig,
    /// Learning-rate schedule.
    pub schedule: ScheduleConfig,
    /// Log every k-th step; at least 1.
    pub log_every_steps: u64,
    /// Log the gradient norm of each term every k-th step (three more backward passes); 0: never.
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
    /// Stop when the metric has not become better for this many epochs; at least 1. Unset: never.
    pub early_stop_epochs: Option<u64>,
    /// Save and end after this many hours; the run can be resumed. Unset: no limit.
    pub max_hours: Option<f64>,
    /// Save `last` this often within an epoch too, in minutes; it is saved after every epoch anyway.
    pub checkpoint_every_minutes: f64,
    /// Write the metrics as a TensorBoard event file too.
    pub tensorboard: bool,
}

/// Which value of a metric is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BestValue {
    /// As of an accuracy.
    #[default]
    Highest,
    /// As of a loss.
    Lowest,
}

impl BestValue {
    /// Whether `value` is better than `than`.
    pub fn is_better(self, value: f64, than: f64) -> bool {
        match self {
            Self::Highest => value > than,
            Self::Lowest => value < than,
        }
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 90,
            batch_size: 64,
            accumulate_batches: 1,
            checkpoint_blocks: false,
            seed: 43,
            ema_decay: None,
            label_smoothing: 0.0,
            clip_norm: None,
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
            log_every_steps: 1,
            log_gradient_norms: 0,
            log_information: false,
            evaluate_every_epochs: 1,
            best_metric: "top1".to_owned(),
            best_value: BestValue::Highest,
            early_stop_epochs: None,
            max_hours: None,
            checkpoint_every_minutes: 10.0,
            tensorboard: true,
        }
    }
}

impl TrainConfig {
    /// Checks the settings' ranges; `prefix` names the table they stand in.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(&self, prefix: &str) -> Result<()> {
        for (key, value) in [
            ("epochs", self.epochs),
            ("batch_size", self.batch_size as u64),
            ("accumulate_batches", self.accumulate_batches),
            ("early_stop_epochs", self.early_stop_epochs.unwrap_or(1)),
            ("log_every_steps", self.log_every_steps),
            ("evaluate_every_epochs", self.evaluate_every_epochs),
        ] {
            if value == 0 {
                return Err(Error::invalid(format!("{prefix}.{key}"), value, "at least 1"));
            }
        }
        for (key, value) in [
            ("label_smoothing", self.label_smoothing),
            ("ema_decay", self.ema_decay.unwrap_or_default()),
        ] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::invalid(format!("{prefix}.{key}"), value, "a number in [0, 1)"));
            }
        }
        for (key, value) in [
            ("clip_norm", self.clip_norm),
            ("max_hours", self.max_hours),
            ("checkpoint_every_minutes", Some(self.checkpoint_every_minutes)),
        ] {
            if let Some(value) = value
                && !(value > 0.0 && value.is_finite())
            {
                return Err(Error::invalid(format!("{prefix}.{key}"), value, "a number above 0"));
            }
        }
        self.optimizer.validate(&format!("{prefix}.optimizer"))?;
        self.schedule.validate(&format!("{prefix}.schedule"))
    }
}
