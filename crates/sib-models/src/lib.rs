//! Backbones with torchvision's state-dict keys and initialisation, their weights in and out.
//!
//! A [`Model`] is one [`Arch`] with its variables; it hands out the
//! [`Backbone`](sib_core::Backbone) that training, explainers and metrics work with. [`layers`] are for
//! networks of one's own.

mod arch;
mod blueprint;
mod densenet;
mod import;
mod inference;
pub mod layers;
mod model;
mod patches;
mod reinitialise;
mod resnet;
mod spec;
mod stem;
mod vit;

pub use arch::Arch;
pub use import::{Selection, read_state_dict};
pub use inference::{Network, Precision, inference_form};
pub use model::{LoadReport, Model, ModelOptions, Reshaped};
pub use reinitialise::Part;

/// The example on the crate's page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
