//! Pictures of heatmaps: colour maps, overlays on the image at its own size, signed differences,
//! contact sheets.

mod colormap;
mod heatmap;
mod overlay;
mod sheet;
mod text;

pub use colormap::Colormap;
pub use heatmap::Heatmap;
pub use overlay::{Shading, Style, overlay, seen_part, signed_image};
pub use sheet::{Legend, Sheet, SheetRow};
pub use text::Text;
