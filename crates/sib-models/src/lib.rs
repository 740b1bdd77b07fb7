//! Backbones with torchvision's state-dict keys and initialisation, their weights in and out.
//!
//! A [`Model`] is one [`Arch`] with its variables; it hands out the
//! [`Backbone`](sib_core::Backbone) that training, explainers and metrics work with.

mod arch;
mod block;
mod blueprint;
mod conv_norm;
mod densenet;
mod import;
mod inference;
mod layers;
mod model;
mod resnet;
mod vit;

pub use arch::Arch;
pub use import::{Selection, read_state_dict};
pub use inference::Precision;
pub use model::{LoadReport, Model, ModelOptions, Reshaped};

/// The example on the crate's page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
