//! The stream of batches depends on the seed, the epoch and the position, and on nothing else.

use std::num::NonZeroUsize;

use tch::Device;

use super::super::loader::{Batch, Loader, LoaderOptions, OnUnreadable};
use super::super::transform::Operation;
use super::super::{
    DataOptions, Dataset, DatasetName, GroundTruth, Split, SyntheticOptions, Transform, open,
};
use super::write_image;
use crate::testing::test_device;

fn dataset(images: usize) -> Dataset {
    let synthetic = SyntheticOptions { train_images: images, side_px: 20, ..Default::default() };
    let options = DataOptions { synthetic, ..Default::default() };
    open(DatasetName::Synthetic, ".".as_ref(), Split::Train, &options).unwrap()
}

fn augmented() -> Transform {
    let mut transform = Transform::augmented(16, [0.5; 3], [0.5; 3]).unwrap();
    transform.operations.insert(0, Operation::Resize { short_px: 18 });
    transform.operations.push(Operation::TrivialAugment {});
    transform
}

fn options() -> LoaderOptions {
    LoaderOptions {
        batch_size: 7,
        shuffle: true,
        seed: 3,
        ground_truth: Some(GroundTruth::Auto),
        ..Default::default()
    }
}

fn batches(options: LoaderOptions, epoch: u64, first: usize) -> Vec<Batch> {
    let loader = Loader::new(dataset(40), augmented(), options).unwrap();
    loader.epoch(epoch, first).map(Result::unwrap).collect()
}

fn assert_equal(a: &[Batch], b: &[Batch]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a.ids, b.ids);
        assert_eq!(a.indices, b.indices);
        assert_eq!(a.images, b.images);
        assert_eq!(a.labels, b.labels);
        assert_eq!(a.ground_truth, b.ground_truth);
        assert_eq!(a.boxes, b.boxes);
    }
}

#[test]
fn the_stream_is_independent_of_workers_prefetch_and_cache() {
    let reference = batches(options(), 1, 0);
    for (workers, prefetch_batches, cache_mib) in [(1, 0, 0), (4, 3, 0), (3, 1, 1)] {
        let workers = NonZeroUsize::new(workers);
        let other = LoaderOptions { workers, prefetch_batches, cache_mib, ..options() };
        let loader = Loader::new(dataset(40), augmented(), other).unwrap();
        // The first epoch fills the cache; the second uses it.
        assert_eq!(loader.epoch(0, 0).count(), 6);
        let got: Vec<Batch> = loader.epoch(1, 0).map(Result::unwrap).collect();
        assert_equal(&got, &reference);
    }
}

#[test]
fn batches_on_a_device_are_those_of_the_cpu() {
    let device = test_device();
    let there = batches(LoaderOptions { device, ..options() }, 1, 0);
    let here = batches(options(), 1, 0);
    assert!(there.iter().all(|batch| batch.images.device() == device));
    let brought = there.into_iter().map(|batch| Batch {
        images: batch.images.to_device(Device::Cpu),
        labels: batch.labels.to_device(Device::Cpu),
        ground_truth: batch.ground_truth.map(|foreground| foreground.to_device(Device::Cpu)),
        ..batch
    });
    assert_equal(&brought.collect::<Vec<_>>(), &here);
}

#[test]
fn resuming_gives_the_rest_of_the_epoch() {
    let whole = batches(options(), 2, 0);
    for first in [1, 4, 6, 9] {
        assert_equal(&batches(options(), 2, first), &whole[first.min(whole.len())..]);
    }
}

#[test]
fn every_epoch_is_another_order_of_all_images() {
    let order = |epoch| -> Vec<usize> {
        batches(options(), epoch, 0).into_iter().flat_map(|batch| batch.indices).collect()
    };
    let (first, second) = (order(0), order(1));
    assert_ne!(first, second);
    for mut order in [first, second] {
        order.sort_unstable();
        assert_eq!(order, (0..40).collect::<Vec<_>>());
    }
}

#[test]
fn the_last_batch_is_short_or_left_out() {
    let sizes = |drop_last| -> Vec<usize> {
        batches(LoaderOptions { drop_last, ..options() }, 0, 0).iter().map(Batch::len).collect()
    };
    assert_eq!(sizes(false), [7, 7, 7, 7, 7, 5]);
    assert_eq!(sizes(true), [7, 7, 7, 7, 7]);
}

#[test]
fn shapes_kinds_and_ranges() {
    let batch = batches(options(), 0, 5).remove(0);
    assert_eq!(batch.images.size(), [5, 3, 16, 16]);
    assert_eq!(batch.images.kind(), tch::Kind::Float);
    assert!(batch.images.abs().max().double_value(&[]) <= 1.0);
    assert_eq!((batch.labels.size(), batch.labels.kind()), (vec![5], tch::Kind::Int64));
    let foreground = batch.ground_truth.unwrap();
    assert_eq!((foreground.size(), foreground.kind()), (vec![5, 16, 16], tch::Kind::Bool));
    assert_eq!(batch.annotated, [true; 5]);
    assert_eq!((batch.ids.len(), batch.boxes.len()), (5, 5));
}

#[test]
fn class_balanced_draws_hold_each_class_as_often() {
    let mut unbalanced = dataset(40);
    unbalanced.records.retain(|record| record.label < 2);
    unbalanced.records.truncate(5); // Labels 0, 1, 0, 1, 0.
    unbalanced.records.remove(3);
    let options = LoaderOptions { class_balanced: true, batch_size: 4, ..options() };
    let loader = Loader::new(unbalanced, augmented(), options).unwrap();
    for epoch in 0..5 {
        let batch = loader.epoch(epoch, 0).next().unwrap().unwrap();
        assert_eq!(batch.labels.sum(tch::Kind::Int64).int64_value(&[]), 2);
    }
}

/// A folder of six images, the third of which is not one.
fn broken(root: &std::path::Path) -> Dataset {
    for i in 0..6 {
        write_image(&root.join(format!("train/cat/{i}.png")), 20, 20, [10 * i, 0, 0]);
    }
    std::fs::write(root.join("train/cat/2.png"), b"no image at all").unwrap();
    open(DatasetName::Folder, root, Split::Train, &DataOptions::default()).unwrap()
}

#[test]
fn an_unreadable_image_ends_the_epoch_and_is_named() {
    let root = tempfile::tempdir().unwrap();
    let options = LoaderOptions { batch_size: 2, ..Default::default() };
    let transform = Transform::evaluation(16, 16, [0.0; 3], [1.0; 3]).unwrap();
    let loader = Loader::new(broken(root.path()), transform, options).unwrap();
    let mut epoch = loader.epoch(0, 0);
    assert_eq!(epoch.next().unwrap().unwrap().len(), 2);
    let error = epoch.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("2.png") && error.contains("unreadable"), "{error}");
    assert!(epoch.next().is_none());
}

#[test]
fn an_unreadable_image_is_left_out_and_listed_where_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let dataset = broken(root.path());
    std::fs::write(root.path().join("train/cat/3.png"), b"").unwrap();
    let options =
        LoaderOptions { batch_size: 2, on_unreadable: OnUnreadable::Skip, ..Default::default() };
    let transform = Transform::evaluation(16, 16, [0.0; 3], [1.0; 3]).unwrap();
    let loader = Loader::new(dataset, transform, options).unwrap();
    let mut epoch = loader.epoch(0, 0);
    let sizes: Vec<usize> = epoch.by_ref().map(|batch| batch.unwrap().len()).collect();
    // The batch of 2.png and 3.png is gone altogether.
    assert_eq!(sizes, [2, 2]);
    let ids: Vec<String> = epoch.unreadable().into_iter().map(|image| image.id).collect();
    assert_eq!(ids, ["train/cat/2.png", "train/cat/3.png"]);
}

#[test]
fn images_of_different_sizes_cannot_be_one_batch() {
    let root = tempfile::tempdir().unwrap();
    write_image(&root.path().join("train/cat/a.png"), 20, 20, [0; 3]);
    write_image(&root.path().join("train/cat/b.png"), 20, 30, [0; 3]);
    let dataset =
        open(DatasetName::Folder, root.path(), Split::Train, &DataOptions::default()).unwrap();
    let transform = Transform {
        operations: vec![Operation::Resize { short_px: 16 }],
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let loader = Loader::new(dataset, transform, LoaderOptions::default()).unwrap();
    let error = loader.epoch(0, 0).next().unwrap().unwrap_err().to_string();
    assert!(error.contains("b.png") && error.contains("16x24"), "{error}");
}

#[test]
fn an_image_too_narrow_to_resize_is_named() {
    let root = tempfile::tempdir().unwrap();
    write_image(&root.path().join("train/cat/thread.png"), 1, 20_000, [0; 3]);
    let dataset =
        open(DatasetName::Folder, root.path(), Split::Train, &DataOptions::default()).unwrap();
    let transform = Transform::evaluation(256, 224, [0.0; 3], [1.0; 3]).unwrap();
    let loader = Loader::new(dataset, transform, LoaderOptions::default()).unwrap();
    let error = loader.epoch(0, 0).next().unwrap().unwrap_err().to_string();
    assert!(error.contains("thread.png") && error.contains("256x5120000"), "{error}");
}

#[test]
fn dropping_an_epoch_early_ends_its_thread() {
    let options = LoaderOptions { prefetch_batches: 1, batch_size: 1, ..options() };
    let loader = Loader::new(dataset(40), augmented(), options).unwrap();
    let mut epoch = loader.epoch(0, 0);
    assert!(epoch.next().is_some());
    // Returns only when the thread has ended, which waits for room in the queue.
    drop(epoch);
}
