//! Training: one update of a network, plain or with S-IB ([`Trainer`]), and the loop of them ([`Fit`]).

mod average;
mod balance;
mod batches;
mod best;
mod config;
mod fit;
mod observer;
mod optimizer;
mod parameters;
mod schedule;
mod update;

pub use batches::{Batches, Examples, TensorBatches};
pub use best::Best;
pub use config::{BestValue, FitConfig, UpdateConfig};
pub use fit::{End, Fit};
pub use observer::{Evaluation, Metric, Observer, Position};
pub use optimizer::{Optimizer, OptimizerConfig, OptimizerKind};
pub use parameters::freeze;
pub use schedule::{Length, ScheduleConfig, ScheduleKind};
pub use update::{Measurements, State, Trainer};

#[cfg(test)]
mod tests;
