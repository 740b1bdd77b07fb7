//! A dataset of one's own: images that are no files each, as in MNIST's, without a byte of them on the
//! disk.

use std::sync::Arc;

use image::{Rgb, RgbImage};
use sib_core::data::{Dataset, Loader, LoaderOptions, ReadImage, Record, Source, Split, Transform};
use sib_core::{Error, Result};

// quote: dataset
/// One image of a file that holds many, 28 × 28 bytes each after a header of 16.
#[derive(Debug)]
struct Digit {
    file: Arc<[u8]>,
    index: usize,
}

impl ReadImage for Digit {
    fn name(&self) -> String {
        format!("digit {}", self.index)
    }

    fn read(&self) -> Result<RgbImage> {
        let start = 16 + 28 * 28 * self.index;
        let pixels = self.file.get(start..start + 28 * 28);
        let pixels = pixels.ok_or_else(|| Error::malformed(self.name(), "the file ends early"))?;
        Ok(RgbImage::from_fn(28, 28, |x, y| Rgb([pixels[(28 * y + x) as usize]; 3])))
    }
}

/// The digits of a file, with the class of each.
fn digits(file: Arc<[u8]>, labels: &[u8]) -> Result<Dataset> {
    let record = |(index, label): (usize, &u8)| {
        let digit = Digit { file: Arc::clone(&file), index };
        Record::new(format!("{index:05}"), (*label).into(), Source::Reader(Arc::new(digit)))
    };
    let records = labels.iter().enumerate().map(record).collect();
    let classes = (0..10).map(|digit| digit.to_string()).collect();
    Dataset::new("mnist", Split::Test, classes, records)
}
// end

pub(crate) fn main() -> Result<()> {
    // Image i is of brightness 25·i all over.
    let pixels = (0..10_u8).flat_map(|i| [25 * i; 28 * 28]);
    let file: Arc<[u8]> = [0; 16].into_iter().chain(pixels).collect();
    let labels: Vec<u8> = (0..10).collect();
    let dataset = digits(file, &labels)?;
    println!("{}: {} images of {} classes", dataset.name, labels.len(), dataset.classes.len());

    let transform = Transform::evaluation(28, 28, [0.0; 3], [1.0; 3])?;
    let options = LoaderOptions { batch_size: 10, ..LoaderOptions::default() };
    let loader = Loader::new(dataset, transform, options)?;
    for batch in loader.epoch(0, 0) {
        let batch = batch?;
        let brightest = batch.images.max().double_value(&[]);
        println!("{:?} up to {brightest:.2}", batch.images.size());
        assert!((brightest - 225.0 / 255.0).abs() < 1e-6);
    }
    Ok(())
}
