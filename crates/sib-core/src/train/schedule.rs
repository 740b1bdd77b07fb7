//! How long a training is, and learning-rate schedules over it, as factors of the configured learning rate.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How long a training is: `epochs` epochs of `steps_per_epoch` updates each, both at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// Passes over the training images.
    pub epochs: u64,
    /// Updates of each.
    pub steps_per_epoch: u64,
}

impl Length {
    /// Checks that there is an update.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the number that is 0.
    pub fn validate(self) -> Result<()> {
        for (key, value) in [("epochs", self.epochs), ("steps_per_epoch", self.steps_per_epoch)] {
            if value == 0 {
                return Err(Error::invalid(key, value, "at least 1"));
            }
        }
        Ok(())
    }

    /// Updates altogether.
    pub fn steps(self) -> u64 {
        self.epochs.saturating_mul(self.steps_per_epoch)
    }
}

/// Shape of the schedule after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Multiplied by `factor` every `every_epochs` epochs: the paper's.
    #[default]
    Step,
    /// Half a cosine from 1 to 0 over the epochs after warm-up.
    Cosine,
    /// 1 throughout.
    Constant,
}

/// Settings of the schedule; the defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Shape of the schedule.
    pub kind: ScheduleKind,
    /// Epochs between two drops of the step schedule, at least 1.
    pub every_epochs: u64,
    /// Factor of each drop, in `(0, 1]`.
    pub factor: f64,
    /// Epochs of linear growth from 0 at the start.
    pub warmup_epochs: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { kind: ScheduleKind::Step, every_epochs: 30, factor: 0.1, warmup_epochs: 0.0 }
    }
}

impl ScheduleConfig {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(&self) -> Result<()> {
        if self.every_epochs == 0 {
            return Err(Error::invalid("every_epochs", 0, "at least 1"));
        }
        if !(self.factor > 0.0 && self.factor <= 1.0) {
            return Err(Error::invalid("factor", self.factor, "above 0, up to 1"));
        }
        if !(self.warmup_epochs >= 0.0 && self.warmup_epochs.is_finite()) {
            return Err(Error::invalid("warmup_epochs", self.warmup_epochs, "at least 0"));
        }
        Ok(())
    }

    /// Factor of the learning rate at update `step` (counted from 0) of a training of this `length`: in
    /// `[0, 1]`.
    pub fn factor(&self, step: u64, length: Length) -> f64 {
        let Length { epochs, steps_per_epoch } = length;
        let epoch = step as f64 / steps_per_epoch as f64;
        if epoch < self.warmup_epochs {
            // The first update is not wasted on a rate of zero.
            return ((step + 1) as f64 / (self.warmup_epochs * steps_per_epoch as f64)).min(1.0);
        }
        match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Step => {
                let drops = (step / steps_per_epoch) / self.every_epochs;
                self.factor.powi(drops as i32)
            }
            ScheduleKind::Cosine => {
                let length = (epochs as f64 - self.warmup_epochs).max(f64::MIN_POSITIVE);
                let progress = ((epoch - self.warmup_epochs) / length).min(1.0);
                0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(epochs: u64) -> Length {
        Length { epochs, steps_per_epoch: 10 }
    }

    #[test]
    fn the_papers_schedule_drops_after_30_and_60_epochs() {
        let schedule = ScheduleConfig::default();
        let at = |epoch: u64| schedule.factor(epoch * 10, length(90));
        assert_eq!([at(0), at(29)], [1.0, 1.0]);
        assert!((at(30) - 0.1).abs() < 1e-15 && (at(89) - 0.01).abs() < 1e-15);
    }

    #[test]
    fn cosine_starts_at_one_after_warm_up_and_ends_near_zero() {
        let schedule = ScheduleConfig {
            kind: ScheduleKind::Cosine,
            warmup_epochs: 2.0,
            ..ScheduleConfig::default()
        };
        let at = |step| schedule.factor(step, length(12));
        assert_eq!([at(0), at(9), at(19), at(20)], [0.05, 0.5, 1.0, 1.0]);
        assert!((at(70) - 0.5).abs() < 1e-12 && at(119) < 1e-3);
    }

    #[test]
    fn a_warm_up_of_a_part_of_an_epoch_ends_at_one() {
        let schedule = ScheduleConfig { warmup_epochs: 0.25, ..ScheduleConfig::default() };
        let factors: Vec<f64> = (0..4).map(|step| schedule.factor(step, length(90))).collect();
        assert_eq!(factors, [0.4, 0.8, 1.0, 1.0]);
    }
}
