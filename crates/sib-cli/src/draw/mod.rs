//! A kit for figures in print: SVG, and PNG as that SVG rasterised. It knows nothing of what is drawn.
//!
//! [`chart`] and [`bars`] are plots with axes, [`panels`] puts them on a page with their legend,
//! [`grid`] shows pictures in rows and columns.

pub mod axis;
pub mod bars;
pub mod chart;
pub mod colour;
pub mod grid;
mod label;
mod note;
pub mod panels;
mod plot;
pub mod raster;
pub mod style;
pub mod svg;
