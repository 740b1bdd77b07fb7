//! Metrics of classifiers and of their heatmaps: pure functions of a batch that return one value per
//! image, and [`Summary`], which streams such values into a mean and its standard error.
//!
//! An image that a metric is not defined for gets an [`Exclusion`] in place of a value, so that a
//! caller can count, leave out and report it. Errors are for wrong arguments only.
//!
//! ```no_run
//! # use sib_core::Result;
//! # use sib_metrics::localization::{Cut, localize};
//! # use sib_metrics::{Summary, Threshold};
//! # use tch::Tensor;
//! /// Average precision and pixel accuracy of heatmaps `[B,H,W]` against masks `[B,H,W]`, over all images that
//! /// have a mask.
//! fn score(heatmaps: &Tensor, masks: &Tensor) -> Result<[Summary; 2]> {
//!     let outcomes = localize(heatmaps, masks, Cut::Threshold(Threshold::Fixed(0.5)), 0.0)?;
//!     let scored = || outcomes.iter().flatten();
//!     let precision = scored().map(|image| image.average_precision).collect();
//!     let accuracy = scored().filter_map(|image| image.confusion.pixel_accuracy()).collect();
//!     Ok([precision, accuracy])
//! }
//! ```

pub mod accuracy;
pub mod calibration;
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
pub use paired::{PairedTest, holm};
pub use pooled::Pooled;
pub use summary::Summary;
pub use threshold::Threshold;

/// The example on the crate's page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
