//! The foundation of S-IB: tensor maths, the [`Backbone`] and [`Probe`] traits, the objective of
//! *Spatial Information Bottleneck for Interpretable Visual Recognition*, datasets, and training.
//!
//! The crate knows no architecture, no explainer and no metric; `sib-models`, `sib-explain` and
//! `sib-metrics` build on it, and none of the three knows another.
//!
//! A network of one's own needs to be a [`Backbone`]. Trained with S-IB:
//!
//! ```no_run
//! # use sib_core::data::Loader;
//! # use sib_core::objective::SibConfig;
//! # use sib_core::train::{Fit, FitConfig, OptimizerConfig, UpdateConfig};
//! # use sib_core::{Backbone, Result};
//! # use tch::nn;
//! /// Trains `net`, whose variables are in `variables`, with both terms of S-IB.
//! fn train(net: &dyn Backbone, variables: &nn::VarStore, images: &Loader) -> Result<()> {
//!     let variables = variables.variables().into_iter().collect();
//!     let optimizer = OptimizerConfig { learning_rate: 3e-3, ..OptimizerConfig::default() };
//!     let update = UpdateConfig { optimizer, ..UpdateConfig::default() };
//!     let config = FitConfig { epochs: 8, update, ..FitConfig::default() };
//!     // Nothing is evaluated on the way, and nobody looks on.
//!     Fit::new(net, variables, images, config, Some(SibConfig::default()))?.run(&mut (), &mut ())?;
//!     Ok(())
//! }
//! ```
//!
//! `docs/extending.md` in the repository has the whole program, from images in memory to scored heatmaps.

pub mod backbone;
pub mod checkpoint;
pub mod classes;
mod conv_geometry;
pub mod data;
pub mod device;
pub mod dotted;
mod error;
pub mod group;
pub mod information;
mod native;
pub mod nearest;
pub mod objective;
pub mod plain_file;
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
