//! Settings of an update, and of a training made of updates.

use std::collections::BTreeMap;

use super::{OptimizerConfig, Precision, ScheduleConfig};
use crate::{Error, Result};

/// Settings of an update; the defaults are the paper's.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateConfig {
    /// Keep only the inputs of the network's blocks and compute the rest again for each derivative
    /// ([`recompute`](crate::recompute)): less memory, more time, the same result.
    pub checkpoint_blocks: bool,
    /// What the network computes with.
    pub precision: Precision,
    /// Batch normalisation takes the moments of the whole batch where that is spread over the members of a group;
    /// otherwise of each part by itself, and R is not what one process would compute (decision N9).
    pub sync_batch_norm: bool,
    /// Of dropout.
    pub seed: u64,
    /// Decay of the weights' exponential moving average, in `[0, 1)`; what is evaluated is then the
    /// average. Unset: no average.
    pub ema_decay: Option<f64>,
    /// Label smoothing of cross-entropy, in `[0, 1)`.
    pub label_smoothing: f64,
    /// Largest Euclidean norm of the whole gradient; longer ones are shortened. Unset: no limit.
    pub clip_norm: Option<f64>,
    /// Update rule.
    pub optimizer: OptimizerConfig,
    /// Factors of the learning rate, above 0, by prefixes of state-dict keys, such as `fc` for the final
    /// layer of a ResNet. The longest prefix counts; the rest has 1.
    pub learning_rate_factors: BTreeMap<String, f64>,
    /// Learning-rate schedule.
    pub schedule: ScheduleConfig,
    /// Measure the gradient norm of each term every k-th step (three more backward passes); 0: never.
    pub log_gradient_norms: u64,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self {
            checkpoint_blocks: false,
            precision: Precision::default(),
            sync_batch_norm: true,
            seed: 43,
            ema_decay: None,
            label_smoothing: 0.0,
            clip_norm: None,
            optimizer: OptimizerConfig::default(),
            learning_rate_factors: BTreeMap::new(),
            schedule: ScheduleConfig::default(),
            log_gradient_norms: 0,
        }
    }
}

impl UpdateConfig {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(&self) -> Result<()> {
        for (key, value) in [
            ("label_smoothing", self.label_smoothing),
            ("ema_decay", self.ema_decay.unwrap_or_default()),
        ] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::invalid(key, value, "a number in [0, 1)"));
            }
        }
        expect_positive("clip_norm", self.clip_norm)?;
        for (prefix, &factor) in &self.learning_rate_factors {
            expect_positive(&format!("learning_rate_factors.{prefix}"), Some(factor))?;
        }
        self.optimizer.validate().map_err(|error| error.within("optimizer"))?;
        self.schedule.validate().map_err(|error| error.within("schedule"))
    }
}

/// Settings of a training; the defaults are the paper's.
#[derive(Debug, Clone, PartialEq)]
pub struct FitConfig {
    /// Passes over the training images.
    pub epochs: u64,
    /// Batches an update, whose gradients are averaged; at least 1. Batch statistics and the S-IB
    /// terms are those of each batch by itself: HSIC over 4 batches of 16 is not HSIC over 64.
    pub accumulate_batches: u64,
    /// Evaluate every k-th epoch and after the last; at least 1.
    pub evaluate_every_epochs: u64,
    /// The metric by which the best network is chosen and training stopped early.
    pub best_metric: String,
    /// Which of its values is the best.
    pub best_value: BestValue,
    /// Stop when the metric has not become better for this many epochs; at least 1. Unset: never.
    pub early_stop_epochs: Option<u64>,
    /// Save and end after this many hours; training can go on later. Unset: no limit.
    pub max_hours: Option<f64>,
    /// How each update is made.
    pub update: UpdateConfig,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            epochs: 90,
            accumulate_batches: 1,
            evaluate_every_epochs: 1,
            best_metric: "top1".to_owned(),
            best_value: BestValue::Highest,
            early_stop_epochs: None,
            max_hours: None,
            update: UpdateConfig::default(),
        }
    }
}

impl FitConfig {
    /// Checks the settings' ranges, those of [`Self::update`] included.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(&self) -> Result<()> {
        for (key, value) in [
            ("epochs", self.epochs),
            ("accumulate_batches", self.accumulate_batches),
            ("evaluate_every_epochs", self.evaluate_every_epochs),
            ("early_stop_epochs", self.early_stop_epochs.unwrap_or(1)),
        ] {
            if value == 0 {
                return Err(Error::invalid(key, value, "at least 1"));
            }
        }
        expect_positive("max_hours", self.max_hours)?;
        self.update.validate()
    }
}

/// Which value of a metric is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
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

fn expect_positive(key: &str, value: Option<f64>) -> Result<()> {
    match value {
        Some(value) if !(value > 0.0 && value.is_finite()) => {
            Err(Error::invalid(key, value, "a number above 0"))
        }
        _ => Ok(()),
    }
}
