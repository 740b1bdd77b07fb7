//! The foundation of S-IB: tensor maths, the [`Backbone`] and [`Probe`] traits, the objective of
//! *Spatial Information Bottleneck for Interpretable Visual Recognition*, datasets, and training.
//!
//! The crate knows no architecture, no explainer and no metric; `sib-models`, `sib-explain` and
//! `sib-metrics` build on it, and none of the three knows another.

pub mod backbone;
pub mod checkpoint;
pub mod classes;
pub mod data;
pub mod device;
pub mod dotted;
mod error;
pub mod information;
mod native;
pub mod nearest;
pub mod objective;
mod random;
pub mod recompute;
pub mod tensor;
pub mod testing;
pub mod train;

pub use backbone::{Backbone, Mode, Probe};
pub use error::{Error, Result};

/// The example on the crate's page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
