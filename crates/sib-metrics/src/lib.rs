//! Metrics of classifiers and of their heatmaps: pure functions of a batch that return one value per
//! image, and [`Summary`], which streams such values into a mean and its standard error.
//!
//! An image that a metric is not defined for gets an [`Exclusion`] in place of a value, so that a
//! caller can count, leave out and report it. Errors are for wrong arguments only.

pub mod accuracy;
pub mod faithfulness;
mod heatmap;
pub mod localization;
mod outcome;
mod paired;
mod pooled;
pub mod rank;
mod summary;
mod threshold;

pub use outcome::{Exclusion, Outcome};
pub use paired::PairedTest;
pub use pooled::Pooled;
pub use summary::Summary;
pub use threshold::Threshold;

/// The example on the crate's page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
