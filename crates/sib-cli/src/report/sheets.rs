//! Contact sheets of heatmaps that `explain` left below the report's folder.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use sib_core::data::decode::{self, Orientation};

use super::pictures::data_uri;
use crate::explanation::folder::sheets;
use crate::explanation::manifest::{self, Row, Which};
use crate::results::titles::method_label;

/// Sheets of one folder on the page.
const MOST_SHEETS: usize = 4;
/// Largest sides of a sheet on the page.
const WIDTH_PX: u32 = 1600;
const HEIGHT_PX: u32 = 8000;

/// The sheets of a folder.
#[derive(Debug, Serialize)]
pub(super) struct SheetsView {
    name: String,
    /// Of what, by which methods.
    caption: String,
    sheets: Vec<Sheet>,
    /// How many there are.
    total: usize,
}

#[derive(Debug, Serialize)]
struct Sheet {
    file: String,
    data_uri: String,
}

/// The sheets of the explanation in the folder at `path`; `None` where it has none.
///
/// # Errors
/// When a file cannot be read or is damaged.
pub(super) fn view(path: &Path, name: &str) -> Result<Option<SheetsView>> {
    let files = sheets(path)?;
    if files.is_empty() {
        return Ok(None);
    }
    let rows = manifest::read(path)?;
    let mut shown = Vec::new();
    for file in files.iter().take(MOST_SHEETS) {
        let picture = decode::rgb(file, Orientation::AsStored)?;
        let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(data_uri) = data_uri(&picture, WIDTH_PX, HEIGHT_PX, 85) {
            shown.push(Sheet { file, data_uri });
        }
    }
    let (name, caption) = (name.to_owned(), caption(&rows));
    Ok(Some(SheetsView { name, caption, sheets: shown, total: files.len() }))
}

/// The methods and the number of images, in words.
fn caption(rows: &[Row]) -> String {
    let (mut methods, mut images) = (Vec::new(), HashSet::new());
    for row in rows {
        let method = method_label(row.method.name()).1;
        if !methods.contains(&method) {
            methods.push(method);
        }
        images.insert(&row.image);
    }
    let of = match images.len() {
        0 => return "Heatmaps".to_owned(),
        1 => "1 image".to_owned(),
        n => format!("{n} images"),
    };
    let compared = match rows.iter().any(|row| row.checkpoint == Which::Baseline) {
        true => ": before, after, and the signed difference",
        false => "",
    };
    format!("Heatmaps of {of} by {}{compared}", methods.join(", "))
}

#[cfg(test)]
mod tests {
    use sib_explain::Method;

    use super::*;

    #[test]
    fn the_caption_names_methods_and_counts_images_once() {
        let row = |image: &str, method, checkpoint| Row {
            image: image.to_owned(),
            method,
            checkpoint,
            target_index: 0,
            target_name: "cat".to_owned(),
            probability: 1.0,
            min: 0.0,
            max: 1.0,
            flat: false,
            completeness_error: None,
            seconds: 0.1,
        };
        let rows = [
            row("a.png", Method::GradCam, Which::Checkpoint),
            row("a.png", Method::SIbMap, Which::Checkpoint),
            row("a.png", Method::GradCam, Which::Baseline),
            row("b.png", Method::GradCam, Which::Checkpoint),
        ];
        let compared = "Heatmaps of 2 images by GradCAM, S-IB map: before, after, and the signed \
                        difference";
        assert_eq!(caption(&rows), compared);
        assert_eq!(caption(&rows[..1]), "Heatmaps of 1 image by GradCAM");
        assert_eq!(caption(&[]), "Heatmaps");
    }
}
