//! Datasets that are no files: images, masks and boxes in memory, and readers of one's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::{GrayImage, Luma, Rgb, RgbImage};

use super::super::{
    BBox, Dataset, GroundTruth, Loader, LoaderOptions, MaskSource, OnUnreadable, ReadImage, Record,
    Source, Split, Transform,
};
use crate::{Error, Result};

fn image(value: u8) -> RgbImage {
    RgbImage::from_pixel(8, 6, Rgb([value; 3]))
}

fn dataset(records: Vec<Record>) -> Result<Dataset> {
    Dataset::new("mine", Split::Train, vec!["a".to_owned(), "b".to_owned()], records)
}

fn loader(dataset: Dataset, options: LoaderOptions) -> Loader {
    let transform = Transform::evaluation(6, 4, [0.0; 3], [1.0; 3]).unwrap();
    Loader::new(dataset, transform, options).unwrap()
}

#[test]
fn images_masks_and_boxes_in_memory_become_batches() {
    let left = GrayImage::from_fn(8, 6, |x, _| Luma([u8::from(x < 4)]));
    let whole = BBox::new(0.0, 0.0, 8.0, 6.0);
    let dataset = dataset(vec![
        Record::in_memory("one", 0, image(51)).with_mask(MaskSource::in_memory("one", left)),
        Record::in_memory("two", 1, image(255)).with_boxes(vec![whole]),
        Record::in_memory("three", 1, image(0)),
    ]);
    let options =
        LoaderOptions { ground_truth: Some(GroundTruth::Auto), ..LoaderOptions::default() };
    let loader = loader(dataset.unwrap(), options);
    let batch = loader.epoch(0, 0).next().unwrap().unwrap();
    assert_eq!(batch.images.size(), [3, 3, 4, 4]);
    let brightest = batch.images.amax([1, 2, 3].as_slice(), false);
    assert_eq!(Vec::<f32>::try_from(brightest).unwrap(), [0.2, 1.0, 0.0]);
    assert_eq!(Vec::<i64>::try_from(&batch.labels).unwrap(), [0, 1, 1]);
    assert_eq!(
        (&batch.ids[..], &batch.annotated[..]),
        (&["one", "two", "three"].map(str::to_owned)[..], &[true, true, false][..])
    );
    let foreground =
        batch.ground_truth.unwrap().sum_dim_intlist([1_i64, 2].as_slice(), false, tch::Kind::Int64);
    assert_eq!(Vec::<i64>::try_from(foreground).unwrap(), [8, 16, 0]);
}

/// An image that is there or not, and counts how often it was asked for.
#[derive(Debug)]
struct Counting(AtomicUsize, bool);

impl ReadImage for Counting {
    fn name(&self) -> String {
        "shard 3, image 7".to_owned()
    }

    fn read(&self) -> Result<RgbImage> {
        self.0.fetch_add(1, Ordering::Relaxed);
        if self.1 { Ok(image(9)) } else { Err(Error::malformed(self.name(), "cut short")) }
    }
}

#[test]
fn a_reader_of_ones_own_is_asked_once_an_epoch_and_named_where_it_fails() {
    let reader = Arc::new(Counting(AtomicUsize::new(0), true));
    let torn = Arc::new(Counting(AtomicUsize::new(0), false));
    let records = |other: &Arc<Counting>| {
        let source =
            |reader: &Arc<Counting>| Source::Reader(Arc::clone(reader) as Arc<dyn ReadImage>);
        vec![Record::new("x", 0, source(&reader)), Record::new("y", 1, source(other))]
    };
    let whole = loader(dataset(records(&reader)).unwrap(), LoaderOptions::default());
    assert_eq!(whole.epoch(0, 0).map(|batch| batch.unwrap().len()).sum::<usize>(), 2);
    assert_eq!(reader.0.load(Ordering::Relaxed), 2);

    let error =
        loader(dataset(records(&torn)).unwrap(), LoaderOptions::default()).epoch(0, 0).next();
    assert_eq!(error.unwrap().unwrap_err().to_string(), "shard 3, image 7: cut short");
    let options = LoaderOptions { on_unreadable: OnUnreadable::Skip, ..LoaderOptions::default() };
    let skipping = loader(dataset(records(&torn)).unwrap(), options);
    let mut epoch = skipping.epoch(0, 0);
    assert_eq!(epoch.by_ref().map(|batch| batch.unwrap().ids).collect::<Vec<_>>(), [["x"]]);
    assert_eq!(epoch.unreadable()[0].id, "y");
}

#[test]
fn what_is_wrong_with_ones_own_records_is_named() {
    let one = |id: &str, label| Record::in_memory(id, label, image(1));
    for (records, expected) in [
        (vec![], "mine: no image in the train split"),
        (vec![one("x", 0), one("x", 1)], "mine: image \"x\" is there twice"),
        (vec![one("x", 0), one("y", 2)], "mine: y has label 2, but there are 2 classes"),
        (vec![one("x", 0)], "mine: class \"b\" has no image in the train split"),
    ] {
        assert_eq!(dataset(records).unwrap_err().to_string(), expected);
    }
    let small = MaskSource::in_memory("mask of x", GrayImage::new(8, 5));
    let empty = BBox::new(3.0, 3.0, 3.0, 4.0);
    for (annotated, kind, expected) in [
        (
            one("x", 0).with_mask(small),
            GroundTruth::Mask,
            "mask of x: mask of 8x5 pixels, expected its image's 8x6",
        ),
        (one("x", 0).with_boxes(vec![empty]), GroundTruth::Box, "x: empty box (3, 3, 3, 4)"),
    ] {
        let dataset = dataset(vec![annotated, one("y", 1)]).unwrap();
        let options = LoaderOptions { ground_truth: Some(kind), ..LoaderOptions::default() };
        let error = loader(dataset, options).epoch(0, 0).next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
