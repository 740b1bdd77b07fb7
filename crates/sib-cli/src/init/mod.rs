//! What a folder of images is, and the configurations that train on it.

mod found;
mod start;

pub(crate) use found::{Found, Shares};
pub(crate) use start::{Start, runs};
