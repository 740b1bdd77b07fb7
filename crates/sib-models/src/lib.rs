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
mod load_report;
mod model;
mod network;
mod options;
mod patches;
mod precision;
mod reinitialise;
mod resnet;
mod spec;
mod stem;
mod vgg;
mod vit;

pub use arch::Arch;
pub use import::{Selection, read_state_dict};
pub use inference::inference_form;
pub use load_report::{LoadReport, Reshaped};
pub use model::Model;
pub use network::Network;
pub use options::ModelOptions;
pub use precision::Precision;
pub use reinitialise::Part;

/// The example on the crate's page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
