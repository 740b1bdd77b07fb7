//! The paper's figures from run folders, drawn as SVG; PNG is that SVG rasterised.
//!
//! [`chart`] and [`bars`] are plots with axes, `panels` puts them on a page with their legend.

pub mod axis;
pub mod bars;
pub mod chart;
mod label;
pub(crate) mod panels;
mod plot;
pub mod raster;
pub mod style;
pub mod svg;
