//! Training: one update of a network, plain or with S-IB ([`Trainer`]), and the loop of them ([`Fit`]).
//!
//! A network of one's own needs its variables by name and batches: of a [`Loader`](crate::data::Loader),
//! of tensors in memory, or whatever else is [`Batches`]. What is measured after an epoch is an
//! [`Evaluation`]; what is logged and kept is for an [`Observer`] to say.
//! Several processes train one network where each calls [`Fit::in_group`] and its batches are its part of theirs
//! ([`TensorBatches::in_part`], [`LoaderOptions::part_of_batch`](crate::data::LoaderOptions::part_of_batch)).
//!
//! ```
//! use sib_core::data::Split;
//! use sib_core::objective::SibConfig;
//! use sib_core::train::{Fit, FitConfig, Metric, TensorBatches};
//! use sib_core::{Backbone, Mode, Probe, Result};
//! use tch::{Kind, Tensor};
//!
//! /// A convolution with ReLU, the mean over the pixels, a linear layer.
//! #[derive(Debug)]
//! struct Small {
//!     conv: Tensor,
//!     fc: Tensor,
//! }
//!
//! impl Backbone for Small {
//!     fn forward_probed(&self, images: &Tensor, _: Mode, probe: &mut dyn Probe) -> Tensor {
//!         let maps = images.conv2d(&self.conv, None::<&Tensor>, 1, 1, 1, 1); // [B,8,H,W]
//!         let maps = probe.relu(&maps);
//!         let maps = probe.tap("conv", maps);
//!         maps.mean_dim([2_i64, 3].as_slice(), false, None::<Kind>).matmul(&self.fc) // [B,2]
//!     }
//!
//!     fn cam_layer(&self) -> Option<&str> {
//!         Some("conv")
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let cpu = (Kind::Float, tch::Device::Cpu);
//! let weight = |size: &[i64]| (Tensor::randn(size, cpu) * 0.1).set_requires_grad(true);
//! let net = Small { conv: weight(&[8, 3, 3, 3]), fc: weight(&[8, 2]) };
//! let variables = [("conv", &net.conv), ("fc", &net.fc)]
//!     .map(|(name, variable)| (name.to_owned(), variable.shallow_clone()));
//!
//! // Noise that is brighter in one of two classes.
//! let labels = Tensor::arange(64, (Kind::Int64, tch::Device::Cpu)).remainder(2);
//! let images = Tensor::randn([64, 3, 16, 16], cpu) + labels.reshape([64, 1, 1, 1]);
//! let batches = TensorBatches::new(images.shallow_clone(), labels.shallow_clone(), 16, 43)?;
//! let mut accuracy = |net: &dyn Backbone| {
//!     let predicted = tch::no_grad(|| net.forward(&images, Mode::Eval)).argmax(-1, false);
//!     let right = predicted.eq_tensor(&labels).mean(Kind::Float).double_value(&[]);
//!     Ok(vec![Metric { split: Split::Test, name: "top1".to_owned(), value: 100.0 * right }])
//! };
//! let config = FitConfig { epochs: 3, ..FitConfig::default() };
//! let sib = Some(SibConfig::default());
//! Fit::new(&net, variables.into(), &batches, config, sib)?.run(&mut accuracy, &mut ())?;
//! # Ok(())
//! # }
//! ```

mod average;
mod balance;
mod batches;
mod best;
mod config;
mod fit;
mod guard;
mod measurements;
mod observer;
mod optimizer;
mod parameters;
mod precision;
mod schedule;
mod update;

pub use batches::{Batches, Examples, TensorBatches};
pub use best::Best;
pub use config::{BestValue, FitConfig, UpdateConfig};
pub use fit::{End, Fit};
pub use guard::Held;
pub use measurements::Measurements;
pub use observer::{Evaluation, Metric, Observer, Position};
pub use optimizer::{Optimizer, OptimizerConfig, OptimizerKind};
pub use parameters::freeze;
pub use precision::{InForce, Precision};
pub use schedule::{Length, ScheduleConfig, ScheduleKind};
pub use update::{State, Trainer};

#[cfg(test)]
mod tests;
