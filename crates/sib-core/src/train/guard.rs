//! Updates whose loss or gradient is not finite are held back, on the device, which nobody waits for.

use tch::{Kind, Tensor};

use super::Measurements;
use crate::Error;

/// Holds back all updates from the first one on whose loss or gradient is not finite.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// 1 from that one on, otherwise 0: an f32 scalar.
    held: Option<Tensor>,
    /// What was measured at each step since the last look.
    unseen: Vec<(u64, Measurements)>,
}

/// The first update that was held back.
#[derive(Debug)]
pub struct Held {
    /// Updates made before it.
    pub step: u64,
    /// What was not finite, and all that was measured.
    pub error: Error,
}

impl Guard {
    /// Takes in what was measured of update `step`, loss and gradient among it; returns 1 where the update must
    /// not be made, otherwise 0.
    pub(super) fn observe(&mut self, step: u64, measured: Measurements) -> Tensor {
        let scalars = ["loss", GRADIENT_NORM].map(|name| measured.scalar(name).expect("measured"));
        // Infinities do not add to a number.
        let is_finite = (&scalars[0] + &scalars[1]).isfinite();
        let now = is_finite.logical_not().to_kind(Kind::Float);
        let held = match &self.held {
            None => now,
            Some(before) => before.maximum(&now),
        };
        self.held = Some(held.shallow_clone());
        self.unseen.push((step, measured));
        held
    }

    /// Looks whether an update was held back, which waits for the device.
    ///
    /// # Errors
    /// The first one.
    pub(super) fn check(&mut self) -> Result<(), Held> {
        let unseen = std::mem::take(&mut self.unseen);
        let is_held = |held: &Tensor| held.double_value(&[]) > 0.0;
        if unseen.is_empty() || !self.held.as_ref().is_some_and(is_held) {
            return Ok(());
        }
        let held = unseen.iter().find_map(|(step, measured)| {
            non_finite(*step, measured).map(|error| Held { step: *step, error })
        });
        Err(held.expect("one of them"))
    }
}

/// The name of the gradient's norm among what is measured.
pub(super) const GRADIENT_NORM: &str = "gradient_norm";

/// Why update `step` cannot be made, where what was `measured` of it is not finite.
pub(super) fn non_finite(step: u64, measured: &Measurements) -> Option<Error> {
    let values = measured.read();
    let (name, _) = values.iter().find(|(_, value)| !value.is_finite())?;
    let what = if *name == GRADIENT_NORM { "gradient" } else { "loss" };
    let of_loss = values.iter().filter(|(name, _)| *name != GRADIENT_NORM);
    let values: Vec<_> = of_loss.map(|(name, value)| format!("{name} {value}")).collect();
    let what = format!("the {what} of step {step} ({})", values.join(", "));
    Some(Error::NonFinite { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(loss: f64, norm: f64) -> Measurements {
        let mut measured = Measurements::default();
        measured.keep("loss", &Tensor::from(loss));
        measured.keep("top1", &Tensor::from(0.5f32));
        measured.keep(GRADIENT_NORM, &Tensor::from(norm));
        measured
    }

    #[test]
    fn the_first_update_that_is_held_back_is_named_and_all_after_it_are_held() {
        let mut guard = Guard::default();
        let held: Vec<f64> = [(1.0, 2.0), (0.5, f64::NAN), (0.25, 1.0), (f64::INFINITY, 1.0)]
            .into_iter()
            .zip(4..)
            .map(|((loss, norm), step)| guard.observe(step, measured(loss, norm)).double_value(&[]))
            .collect();
        assert_eq!(held, [0.0, 1.0, 1.0, 1.0]);
        let Held { step, error } = guard.check().unwrap_err();
        assert_eq!(step, 5);
        assert!(error.to_string().contains("gradient of step 5 (loss 0.5, top1 0.5)"), "{error}");
    }

    #[test]
    fn what_is_finite_is_forgotten_once_it_was_looked_at() {
        let mut guard = Guard::default();
        for step in 0..3 {
            let _ = guard.observe(step, measured(1.0, 1.0));
        }
        guard.check().unwrap();
        assert!(guard.unseen.is_empty());
        let _ = guard.observe(3, measured(f64::NAN, f64::NAN));
        assert!(guard.check().unwrap_err().error.to_string().contains("the loss of step 3"));
    }
}
