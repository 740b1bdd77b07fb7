//! Readers on real subsets of the benchmarks, where they are there.

use std::path::PathBuf;

use super::super::check::{ProblemKind, check};
use super::super::{
    DataOptions, Dataset, DatasetName, GroundTruth, Loader, LoaderOptions, Split, Transform, open,
};
use crate::testing::shared_path;

fn root(folder: &str) -> Option<PathBuf> {
    shared_path(&format!("data/{folder}"))
}

fn opened(name: DatasetName, root: &std::path::Path, split: Split) -> Dataset {
    let options = DataOptions { allow_missing: true, ..Default::default() };
    open(name, root, split, &options).unwrap_or_else(|error| panic!("{error}"))
}

/// Mean foreground fraction of the first `images` test images after Resize 256, CenterCrop 224.
fn mean_foreground(dataset: Dataset, kind: GroundTruth) -> f64 {
    let transform = Transform::evaluation(256, 224, [0.5; 3], [0.5; 3]).unwrap();
    let options = LoaderOptions { ground_truth: Some(kind), ..Default::default() };
    let images = dataset.records.len();
    let loader = Loader::new(dataset, transform, options).unwrap();
    let sum: f64 = loader
        .epoch(0, 0)
        .map(|batch| {
            let foreground = batch.unwrap().ground_truth.unwrap();
            foreground.to_kind(tch::Kind::Double).mean_dim([1_i64, 2].as_slice(), false, None)
        })
        .map(|fractions| fractions.sum(None).double_value(&[]))
        .sum();
    sum / images as f64
}

#[test]
fn pets() {
    let Some(root) = root("oxford-iiit-pet") else { return };
    let (train, test) = (
        opened(DatasetName::Pets, &root, Split::Train),
        opened(DatasetName::Pets, &root, Split::Test),
    );
    // 600 images, two of which are in no split.
    assert_eq!(train.records.len() + test.records.len(), 598);
    assert_eq!(train.classes, ["Abyssinian", "american_bulldog", "Bengal"]);
    assert_eq!((train.records.len(), train.missing.len()), (300, 0));
    assert!(train.records.iter().chain(&test.records).all(|record| record.mask.is_some()));
    let boxes = |dataset: &Dataset| dataset.records.iter().filter(|r| !r.boxes.is_empty()).count();
    assert!((290..=296).contains(&(boxes(&train) + boxes(&test))));
    let report = check(DatasetName::Pets, &root, &DataOptions::default(), |_, _| {});
    for split in &report.splits {
        assert!(split.problems.iter().all(|p| p.kind == ProblemKind::EmptyMask), "{split:?}");
    }
    // Trimap foreground 41.5 %, head boxes 31 % of the image.
    let mut all = train;
    all.records.extend(test.records);
    let masks = mean_foreground(all.clone(), GroundTruth::Mask);
    assert!((masks - 0.415).abs() < 0.01, "{masks}");
    all.retain_annotated(GroundTruth::Box);
    let boxes = mean_foreground(all, GroundTruth::Box);
    assert!((boxes - 0.31).abs() < 0.01, "{boxes}");
}

#[test]
fn cub200() {
    let Some(root) = root("CUB_200_2011") else { return };
    let train = opened(DatasetName::Cub200, &root, Split::Train);
    let test = opened(DatasetName::Cub200, &root, Split::Test);
    assert_eq!(train.records.len() + test.records.len(), 1402);
    assert_eq!((train.classes.len(), train.missing.len()), (25, 0));
    assert_eq!(train.classes[0], "Black_footed_Albatross");
    assert!(test.records.iter().all(|record| record.boxes.len() == 1));
    let fraction = mean_foreground(test.limit(300), GroundTruth::Auto);
    assert!((fraction - 0.53).abs() < 0.03, "{fraction}");
}

#[test]
fn imagenet() {
    let Some(root) = root("imagenet") else { return };
    let train = opened(DatasetName::ImageNet, &root, Split::Train);
    let test = opened(DatasetName::ImageNet, &root, Split::Test);
    assert_eq!(train.class_counts(), [80; 10]);
    assert_eq!(test.class_counts(), [50; 10]);
    assert!(test.records.iter().all(|record| !record.boxes.is_empty()));
    assert!(test.records.iter().any(|record| record.boxes.len() > 1));
}

#[test]
fn dogs() {
    let Some(root) = root("stanford-dogs") else { return };
    let train = opened(DatasetName::Dogs, &root, Split::Train);
    let test = opened(DatasetName::Dogs, &root, Split::Test);
    assert_eq!(train.classes, ["Shih-Tzu", "Rhodesian_ridgeback", "beagle"]);
    assert_eq!((train.records.len(), test.records.len()), (90, 60));
    assert!(train.records.iter().all(|record| !record.boxes.is_empty()));
}

#[test]
fn cifar100() {
    let Some(root) = root("cifar-100-binary") else { return };
    let train = opened(DatasetName::Cifar100, &root, Split::Train);
    let test = opened(DatasetName::Cifar100, &root, Split::Test);
    assert_eq!((train.records.len(), test.records.len()), (4000, 1000));
    assert_eq!((train.classes.len(), train.classes[0].as_str()), (100, "apple"));
}
