//! Contact sheets of heatmaps that `explain` left below the report's folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sib_core::Error;
use sib_core::data::decode::{self, Orientation};

use super::pictures::data_uri;
use crate::csv_rows;
use crate::tables::number::method_label;

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

/// What is read of the rows of `manifest.csv`.
#[derive(Debug, Deserialize)]
struct ManifestRow {
    image: String,
    method: String,
    checkpoint: String,
}

/// The sheets in the folder at `path`; `None` where there is none.
///
/// # Errors
/// When a file cannot be read or is damaged.
pub(super) fn of_folder(path: &Path, name: &str) -> Result<Option<SheetsView>> {
    let files = files(path)?;
    if files.is_empty() {
        return Ok(None);
    }
    let manifest = path.join("manifest.csv");
    let rows = if manifest.is_file() { csv_rows::read(&manifest)? } else { Vec::new() };
    let mut sheets = Vec::new();
    for file in files.iter().take(MOST_SHEETS) {
        let picture = decode::rgb(file, Orientation::AsStored)?;
        let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(data_uri) = data_uri(&picture, WIDTH_PX, HEIGHT_PX, 85) {
            sheets.push(Sheet { file, data_uri });
        }
    }
    let (name, caption) = (name.to_owned(), caption(&rows));
    Ok(Some(SheetsView { name, caption, sheets, total: files.len() }))
}

/// The files `sheet-*.png` in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let name = entry.map_err(Error::io("read", folder))?.file_name();
        let text = name.to_string_lossy();
        if text.starts_with("sheet-") && text.ends_with(".png") {
            files.push(folder.join(name));
        }
    }
    files.sort();
    Ok(files)
}

/// The methods and the number of images, in words.
fn caption(rows: &[ManifestRow]) -> String {
    let (mut methods, mut images) = (Vec::new(), Vec::new());
    for row in rows {
        let method = method_label(&row.method).1;
        if !methods.contains(&method) {
            methods.push(method);
        }
        if images.last() != Some(&&row.image) && !images.contains(&&row.image) {
            images.push(&row.image);
        }
    }
    let of = match images.len() {
        0 => return "Heatmaps".to_owned(),
        1 => "1 image".to_owned(),
        n => format!("{n} images"),
    };
    let compared = match rows.iter().any(|row| row.checkpoint == "baseline") {
        true => ": before, after, and the signed difference",
        false => "",
    };
    format!("Heatmaps of {of} by {}{compared}", methods.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caption_names_methods_and_counts_images_once() {
        let row = |image: &str, method: &str, checkpoint: &str| ManifestRow {
            image: image.to_owned(),
            method: method.to_owned(),
            checkpoint: checkpoint.to_owned(),
        };
        let rows = [
            row("a.png", "grad-cam", "checkpoint"),
            row("a.png", "s-ib-map", "checkpoint"),
            row("a.png", "grad-cam", "baseline"),
            row("b.png", "grad-cam", "checkpoint"),
        ];
        let compared = "Heatmaps of 2 images by GradCAM, S-IB map: before, after, and the signed \
                        difference";
        assert_eq!(caption(&rows), compared);
        assert_eq!(caption(&rows[..1]), "Heatmaps of 1 image by GradCAM");
        assert_eq!(caption(&[]), "Heatmaps");
    }
}
