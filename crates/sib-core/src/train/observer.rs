//! Who looks on while a network is trained, and keeps what is worth keeping.

use super::{Best, Measurements, State};
use crate::data::Split;
use crate::{Backbone, Error};

/// Where training stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Updates made.
    pub step: u64,
    /// The epoch of the last of them, counted from 0.
    pub epoch: u64,
}

/// A value that was measured on images that are not trained on.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The images.
    pub split: Split,
    /// What was measured.
    pub name: String,
    /// Its value.
    pub value: f64,
}

/// What is measured after an epoch; any closure from the network to metrics will do, and `()` measures
/// nothing.
pub trait Evaluation<E = Error> {
    /// The metrics of `net`, which stands where `at` says and holds the weights that count: their moving
    /// average, where one is kept. The first of the name
    /// [`best_metric`](super::FitConfig::best_metric) is what the best network is chosen by.
    ///
    /// # Errors
    /// Whatever ends the training.
    fn evaluate(&mut self, net: &dyn Backbone, at: Position) -> Result<Vec<Metric>, E>;
}

impl<E> Evaluation<E> for () {
    fn evaluate(&mut self, _: &dyn Backbone, _: Position) -> Result<Vec<Metric>, E> {
        Ok(Vec::new())
    }
}

impl<E, F> Evaluation<E> for F
where
    F: FnMut(&dyn Backbone) -> Result<Vec<Metric>, E>,
{
    fn evaluate(&mut self, net: &dyn Backbone, _: Position) -> Result<Vec<Metric>, E> {
        self(net)
    }
}

/// Logs, checkpoints, progress: all that is particular to a program. Nothing of it must be there; `()`
/// keeps nothing.
pub trait Observer {
    /// What may go wrong for the observer; it ends the training.
    type Error: From<Error>;

    /// Whether [`Self::updated`] is going to read what the update was measured by. Where it is not, nothing waits
    /// for the device, and `updated` may come for an update that is held back, of which
    /// [`failed`](Self::failed) is told later.
    fn wants_measurements(&self, at: Position) -> bool {
        let _ = at;
        true
    }

    /// An update has been made.
    ///
    /// # Errors
    /// Whatever ends the training.
    fn updated(&mut self, at: Position, measured: &Measurements) -> Result<(), Self::Error> {
        let _ = (at, measured);
        Ok(())
    }

    /// An update could not be made of the images `ids`, as far as it came; `at` is the last one that was.
    /// Returns what training ends with.
    fn failed(&mut self, at: Position, ids: &[String], error: Error) -> Self::Error {
        let _ = (at, ids);
        error.into()
    }

    /// The network has been evaluated.
    ///
    /// # Errors
    /// Whatever ends the training.
    fn evaluated(&mut self, at: Position, metrics: &[Metric]) -> Result<(), Self::Error> {
        let _ = (at, metrics);
        Ok(())
    }

    /// The network is the best so far. Its variables hold the weights that were evaluated until this
    /// returns.
    ///
    /// # Errors
    /// Whatever ends the training.
    fn best(&mut self, at: Position, best: Best) -> Result<(), Self::Error> {
        let _ = (at, best);
        Ok(())
    }

    /// Whether to save now, between two updates of an epoch.
    fn wants_to_save(&self) -> bool {
        false
    }

    /// Whether training shall save and end, as where the process is told to; it can go on later.
    fn wants_to_end(&self) -> bool {
        false
    }

    /// The network's variables with `state` are all that it takes to go on from here
    /// ([`Fit::restore`](super::Fit::restore)). Comes after each epoch, before training ends with work left,
    /// and where [`Self::wants_to_save`] says so.
    ///
    /// # Errors
    /// Whatever ends the training.
    fn save(&mut self, at: Position, state: State) -> Result<(), Self::Error> {
        let _ = (at, state);
        Ok(())
    }
}

impl Observer for () {
    type Error = Error;
}
