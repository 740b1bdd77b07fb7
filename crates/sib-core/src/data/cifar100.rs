//! CIFAR-100, binary version (Krizhevsky 2009): `{train,test}.bin` of 3 074-byte records, and the
//! class names.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use image::{Rgb, RgbImage};

use super::dataset::{Dataset, Record};
use super::layout::{read_text, require_layout};
use super::options::DataOptions;
use super::source::{ReadImage, Source};
use super::spec::{Root, Spec, Validation};
use super::split::Split;
use crate::{Error, Result, plain_file};

pub(super) const SPEC: Spec = Spec {
    name: "cifar100",
    title: "CIFAR-100",
    full_name: "CIFAR-100, binary version",
    reference: "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    classes: Some(100),
    train_images: Some(50_000),
    test_images: Some(10_000),
    annotations: "none",
    ground_truth: None,
    size: "161 MB",
    licence: "none stated; its authors ask to be cited",
    published: "https://www.cs.toronto.edu/~kriz/cifar.html",
    unpack: "cifar-100-binary.tar.gz; root is the folder cifar-100-binary",
    layout: "train.bin, test.bin, fine_label_names.txt",
    root: Root::Archive("cifar-100-binary"),
    validation: Validation::Nothing,
    open,
};

const SIDE_PX: usize = 32;
const PLANE: usize = SIDE_PX * SIDE_PX;
/// Coarse label, fine label, then the red, green and blue planes.
const RECORD: usize = 2 + 3 * PLANE;

fn open(root: &Path, split: Split, _: &DataOptions) -> Result<Dataset> {
    let file = format!("{split}.bin");
    require_layout(root, SPEC.layout, &[&file, "fine_label_names.txt"])?;
    let classes: Vec<String> = read_text(&root.join("fine_label_names.txt"))?
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let path = root.join(&file);
    let bytes = plain_file::read(&path).map_err(Error::io("read", &path))?;
    let labels = parse(&bytes, classes.len()).map_err(|p| Error::malformed(&path, p))?;
    let bytes: Arc<[u8]> = bytes.into();
    let records = labels
        .into_iter()
        .enumerate()
        .map(|(index, label)| {
            let thumbnail = Thumbnail { bytes: Arc::clone(&bytes), index };
            let source = Source::Reader(Arc::new(thumbnail));
            Record::new(format!("{split}/{index:05}"), label, source)
        })
        .collect();
    Ok(Dataset::of(SPEC.name, split, classes, records))
}

/// The fine labels of all records.
pub(super) fn parse(bytes: &[u8], classes: usize) -> Result<Vec<usize>, String> {
    let (records, rest) = bytes.as_chunks::<RECORD>();
    if records.is_empty() || !rest.is_empty() {
        return Err(format!(
            "{} bytes, expected a multiple of {RECORD} (a half-unpacked archive?)",
            bytes.len()
        ));
    }
    records
        .iter()
        .enumerate()
        .map(|(index, record)| {
            let label = usize::from(record[1]);
            if label < classes {
                return Ok(label);
            }
            Err(format!("record {index} has label {label}, but there are {classes} class names"))
        })
        .collect()
}

/// One image of a batch file in memory.
struct Thumbnail {
    bytes: Arc<[u8]>,
    index: usize,
}

impl fmt::Debug for Thumbnail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thumbnail").field("index", &self.index).finish_non_exhaustive()
    }
}

impl ReadImage for Thumbnail {
    fn name(&self) -> String {
        format!("CIFAR image {}", self.index)
    }

    fn read(&self) -> Result<RgbImage> {
        let start = self.index * RECORD + 2;
        let planes = &self.bytes[start..start + 3 * PLANE];
        Ok(RgbImage::from_fn(SIDE_PX as u32, SIDE_PX as u32, |x, y| {
            let at = y as usize * SIDE_PX + x as usize;
            Rgb([planes[at], planes[at + PLANE], planes[at + 2 * PLANE]])
        }))
    }
}
