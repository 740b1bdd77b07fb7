//! Boxes of PASCAL-VOC-style XML files.

use std::path::Path;

use serde::Deserialize;

use super::bbox::BBox;
use super::fault::Fault;
use super::layout::text;

/// The part of an annotation file that is read.
#[derive(Debug, Deserialize)]
struct Annotation {
    #[serde(default)]
    object: Vec<Object>,
}

#[derive(Debug, Deserialize)]
struct Object {
    bndbox: Bounds,
}

#[derive(Debug, Deserialize)]
struct Bounds {
    xmin: f32,
    ymin: f32,
    xmax: f32,
    ymax: f32,
}

/// Reads the boxes of all objects of a file, in its order; the four numbers are taken as edges.
///
/// # Errors
/// Where the file cannot be read or is no such XML, and where a box is empty or not finite.
pub(super) fn read(path: &Path) -> Result<Vec<BBox>, Fault> {
    let fault = |problem| Fault { file: path.to_owned(), problem };
    let bytes =
        crate::plain_file::read(path).map_err(|error| fault(format!("cannot read: {error}")))?;
    // Numbers are the same in every encoding of names.
    let text = text(&bytes).unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
    parse(&text).map_err(fault)
}

/// The boxes of an annotation's text.
pub(super) fn parse(text: &str) -> Result<Vec<BBox>, String> {
    let annotation: Annotation =
        quick_xml::de::from_str(text).map_err(|error| format!("no VOC annotation: {error}"))?;
    annotation
        .object
        .into_iter()
        .map(|Object { bndbox: Bounds { xmin, ymin, xmax, ymax } }| {
            BBox::new(xmin, ymin, xmax, ymax).checked()
        })
        .collect()
}
