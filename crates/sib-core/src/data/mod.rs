//! Datasets in the layouts of their own archives, transforms of images with their annotations, and
//! a parallel loader.
//!
//! A [`Dataset`] is plain data: a list of [`Record`]s that say where an image comes from, its label
//! and its boxes and mask. [`open`] reads one of those that have a [`DatasetName`], whose [`Spec`]
//! stands beside its reader; a [`Transform`] turns an image into model input and
//! carries the annotations along; a [`Loader`] makes batches.

pub mod affine;
pub mod bbox;
mod cache;
pub mod check;
mod cifar100;
mod class_folders;
pub mod colour;
mod cub200;
mod dataset;
pub mod decode;
mod dogs;
mod fault;
pub mod files;
mod folder;
#[doc(hidden)]
pub mod fuzzing;
pub mod ground_truth;
mod imagenet;
mod layout;
pub mod loader;
mod mat5;
pub mod mix;
mod name;
mod open;
mod options;
mod pets;
pub mod plan;
mod resample;
mod source;
mod spec;
mod split;
pub mod split_list;
mod stack;
pub mod synthetic;
pub mod transform;
mod trivial_augment;
mod voc;

#[cfg(test)]
mod tests;

pub use bbox::BBox;
pub use check::{CheckReport, check};
pub use dataset::{Dataset, Record};
pub use decode::labels::MaskRule;
pub use fault::Fault;
pub use ground_truth::GroundTruth;
pub use loader::{Batch, Loader, LoaderOptions, OnUnreadable};
pub use mix::{Mix, soft_targets};
pub use name::DatasetName;
pub use open::{open, splits};
pub use options::DataOptions;
pub use plan::Plan;
pub use source::{MaskSource, ReadImage, ReadMask, Source};
pub use spec::{Root, Spec};
pub use split::Split;
pub use synthetic::SyntheticOptions;
pub use transform::Transform;
