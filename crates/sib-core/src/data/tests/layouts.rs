//! Every reader on a miniature of its archive, whole and broken.

use std::path::Path;

use super::super::check::{ProblemKind, check};
use super::super::{BBox, DataOptions, Dataset, DatasetName, GroundTruth, Plan, Split, open};
use super::{write_image, write_text};
use crate::Error;
use crate::testing::golden_path;

fn allow_missing() -> DataOptions {
    DataOptions { allow_missing: true, ..Default::default() }
}

pub(super) fn opened(name: DatasetName, root: &Path, split: Split) -> Dataset {
    open(name, root, split, &DataOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn refused(name: DatasetName, root: &Path, split: Split) -> String {
    open(name, root, split, &DataOptions::default()).unwrap_err().to_string()
}

pub(super) fn labels(dataset: &Dataset) -> Vec<usize> {
    dataset.records.iter().map(|record| record.label).collect()
}

/// Foreground pixels of a record at its own size.
fn foreground(dataset: &Dataset, record: usize, kind: GroundTruth) -> usize {
    let record = &dataset.records[record];
    let (width, height) = record.source.load().unwrap().dimensions();
    let plan = Plan::new(width, height);
    let map = kind.of(record).unwrap().rasterise(&plan).unwrap();
    map.into_iter().filter(|&inside| inside).count()
}

pub(super) fn write_mask(path: &Path, width: u32, height: u32, value: impl Fn(u32, u32) -> u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_fn(width, height, |x, y| image::Luma([value(x, y)])).save(path).unwrap();
}

pub(super) fn voc(boxes: &[[u32; 4]]) -> String {
    let objects: String = boxes
        .iter()
        .map(|[x0, y0, x1, y1]| {
            format!(
                "<object><name>n</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>\
                 <ymax>{y1}</ymax></bndbox></object>"
            )
        })
        .collect();
    format!("<annotation><folder>f</folder><size><width>9</width></size>{objects}</annotation>")
}

pub(super) fn pets(root: &Path) {
    write_text(
        &root.join("annotations/trainval.txt"),
        "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_1 1 1 1\nshiba_inu_7 3 2 2\nBengal_2 2 1 2\n",
    );
    write_text(&root.join("annotations/test.txt"), "Abyssinian_2 1 1 1\nBengal_3 2 1 2\n");
    for image in ["Abyssinian_1", "shiba_inu_7", "Bengal_2", "Abyssinian_2", "Bengal_3"] {
        write_image(&root.join(format!("images/{image}.jpg")), 10, 8, [9; 3]);
    }
    // One column of foreground, one of border, the rest background.
    let trimap = |x, _| {
        if x == 0 {
            1
        } else if x == 1 {
            3
        } else {
            2
        }
    };
    write_mask(&root.join("annotations/trimaps/shiba_inu_7.png"), 10, 8, trimap);
    write_text(&root.join("annotations/xmls/Bengal_2.xml"), &voc(&[[1, 2, 5, 6]]));
}

#[test]
fn pets_layout() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    pets(root);
    let train = opened(DatasetName::Pets, root, Split::Train);
    assert_eq!(train.classes, ["Abyssinian", "Bengal", "shiba_inu"]);
    assert_eq!(labels(&train), [0, 2, 1]);
    assert_eq!(foreground(&train, 1, GroundTruth::Auto), 8);
    assert_eq!(train.records[2].boxes, [BBox::new(1.0, 2.0, 5.0, 6.0)]);
    assert_eq!(foreground(&train, 2, GroundTruth::Auto), 16);
    assert!(GroundTruth::Mask.of(&train.records[2]).is_none());
    // A class without test images keeps its number.
    let test = opened(DatasetName::Pets, root, Split::Test);
    assert_eq!((labels(&test), test.classes.len()), (vec![0, 1], 3));
}

#[test]
fn missing_images_are_counted_and_left_out_only_where_allowed() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    pets(root);
    std::fs::remove_file(root.join("images/shiba_inu_7.jpg")).unwrap();
    let error = open(DatasetName::Pets, root, Split::Train, &DataOptions::default()).unwrap_err();
    assert!(matches!(error, Error::MissingImages { .. }));
    let error = error.to_string();
    for part in ["trainval.txt", "1 of 3 images", "images/shiba_inu_7.jpg"] {
        assert!(error.contains(part), "{error}");
    }
    for split in [Split::Train, Split::Test] {
        let dataset = open(DatasetName::Pets, root, split, &allow_missing()).unwrap();
        assert_eq!(dataset.classes, ["Abyssinian", "Bengal"]);
        assert_eq!(labels(&dataset), [0, 1]);
        assert_eq!(dataset.missing.len(), usize::from(split == Split::Train));
    }
    // The class stays where it has a test image; then it lacks one to train on.
    write_text(&root.join("annotations/test.txt"), "shiba_inu_8 3 2 2\n");
    write_image(&root.join("images/shiba_inu_8.jpg"), 10, 8, [9; 3]);
    let error =
        open(DatasetName::Pets, root, Split::Train, &allow_missing()).unwrap_err().to_string();
    assert!(error.contains("class \"shiba_inu\" has no image in the train split"), "{error}");
}

#[test]
fn a_wrong_root_is_told_what_was_expected_and_found() {
    let root = tempfile::tempdir().unwrap();
    write_text(&root.path().join("holiday.txt"), "");
    for name in DatasetName::ALL {
        if name == DatasetName::Synthetic {
            continue;
        }
        let error = refused(name, root.path(), Split::Train);
        assert!(error.contains(name.spec().layout), "{name}: {error}");
        assert!(error.contains("found holiday.txt"), "{name}: {error}");
        let error = refused(name, &root.path().join("nowhere"), Split::Train);
        assert!(error.contains("found no such folder"), "{name}: {error}");
    }
}

#[test]
fn folder_layout() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for id in ["train/cat/b.png", "train/cat/a.JPG", "train/dog/c.jpeg", "val/dog/d.png"] {
        write_image(&root.join(id), 6, 4, [1; 3]);
    }
    write_text(&root.join("train/cat/notes.txt"), "not an image");
    write_mask(&root.join("masks/train/cat/b.png"), 6, 4, |x, _| u8::from(x < 2));
    write_text(
        &root.join("boxes.csv"),
        "image,x0,y0,x1,y1\ntrain/cat/b.png,1,1,3,3\ntrain/dog/c.jpeg,0,0,1,1\ntrain/dog/c.jpeg,4,2,\
         6,4\nval/dog/d.png,0,0,6,4\n",
    );
    let train = opened(DatasetName::Folder, root, Split::Train);
    let ids: Vec<&str> = train.records.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(ids, ["train/cat/a.JPG", "train/cat/b.png", "train/dog/c.jpeg"]);
    assert_eq!(
        (labels(&train), &train.classes[..]),
        (vec![0, 0, 1], &["cat".to_owned(), "dog".to_owned()][..],)
    );
    assert_eq!(foreground(&train, 1, GroundTruth::Auto), 8);
    assert_eq!(foreground(&train, 1, GroundTruth::Box), 4);
    assert_eq!(foreground(&train, 2, GroundTruth::Auto), 5);
    assert_eq!(labels(&opened(DatasetName::Folder, root, Split::Test)), [1]);

    // A class folder with no image in it.
    std::fs::create_dir(root.join("train/emu")).unwrap();
    let error = refused(DatasetName::Folder, root, Split::Train);
    assert!(error.contains("class \"emu\" has no image"), "{error}");
    std::fs::remove_dir(root.join("train/emu")).unwrap();

    // A class with test images only.
    write_image(&root.join("val/fox/e.png"), 6, 4, [1; 3]);
    let error = refused(DatasetName::Folder, root, Split::Train);
    assert!(error.contains("class \"fox\" has no image in the train split"), "{error}");
    std::fs::remove_dir_all(root.join("val/fox")).unwrap();

    // A box of no image.
    write_text(&root.join("boxes.csv"), "image,x0,y0,x1,y1\ntrain/cat/z.png,1,1,3,3\n");
    let error = refused(DatasetName::Folder, root, Split::Train);
    assert!(error.contains("boxes.csv") && error.contains("train/cat/z.png"), "{error}");
}

#[test]
fn a_mask_of_another_size_is_refused() {
    let root = tempfile::tempdir().unwrap();
    write_image(&root.path().join("train/cat/a.png"), 6, 4, [1; 3]);
    write_mask(&root.path().join("masks/train/cat/a.png"), 6, 5, |_, _| 1);
    let dataset = opened(DatasetName::Folder, root.path(), Split::Train);
    let annotation = GroundTruth::Auto.of(&dataset.records[0]).unwrap();
    let error = annotation.rasterise(&Plan::new(6, 4)).unwrap_err().to_string();
    assert!(error.contains("a.png") && error.contains("6x5") && error.contains("6x4"), "{error}");
}

#[test]
fn imagenet_layout() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write_image(&root.join("train/n02/n02_1.JPEG"), 9, 9, [1; 3]);
    write_image(&root.join("train/n01/n01_1.JPEG"), 9, 9, [1; 3]);
    write_image(&root.join("val/n01/V_1.JPEG"), 9, 9, [1; 3]);
    write_image(&root.join("val/n02/V_2.JPEG"), 9, 9, [1; 3]);
    write_text(&root.join("bboxes/val/V_2.xml"), &voc(&[[0, 0, 2, 2], [1, 1, 4, 4]]));
    write_text(&root.join("bboxes/train/n01/n01_1.xml"), &voc(&[[0, 0, 2, 2]]));
    let train = opened(DatasetName::ImageNet, root, Split::Train);
    assert_eq!(train.classes, ["n01", "n02"]);
    assert_eq!((train.records[0].boxes.len(), train.records[1].boxes.len()), (1, 0));
    let test = opened(DatasetName::ImageNet, root, Split::Test);
    assert!(test.records[0].boxes.is_empty());
    // The union of both boxes: 4 + 9 - 1.
    assert_eq!(foreground(&test, 1, GroundTruth::Auto), 12);

    // Validation images as their archive has them, not sorted into folders.
    std::fs::remove_dir_all(root.join("val")).unwrap();
    std::fs::remove_dir_all(root.join("train")).unwrap();
    write_image(&root.join("val/V_1.JPEG"), 9, 9, [1; 3]);
    let error = refused(DatasetName::ImageNet, root, Split::Test);
    assert!(error.contains("no class folders"), "{error}");
}

#[test]
fn cub_layout() {
    let root = tempfile::tempdir().unwrap();
    let outer = root.path();
    let root = &outer.join("CUB_200_2011");
    write_text(&root.join("classes.txt"), "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n");
    write_text(&root.join("images.txt"), "1 001.B/a.jpg\n2 002.L/b.jpg\n3 001.B/c.jpg\n");
    write_text(&root.join("image_class_labels.txt"), "1 1\n2 2\n3 1\n");
    write_text(&root.join("train_test_split.txt"), "1 1\n2 1\n3 0\n");
    write_text(
        &root.join("bounding_boxes.txt"),
        "1 1.0 2.0 3.0 4.0\n2 0.5 0.5 2.0 2.0\n3 0 0 1 1\n",
    );
    for image in ["001.B/a.jpg", "002.L/b.jpg", "001.B/c.jpg"] {
        write_image(&root.join("images").join(image), 9, 9, [1; 3]);
    }
    // Three of five annotators on one row, two of five on the next.
    let share = |_, y| {
        if y == 0 {
            153
        } else if y == 1 {
            102
        } else {
            0
        }
    };
    write_mask(&outer.join("segmentations/001.B/a.png"), 9, 9, share);
    // The folder that the archive was unpacked in does as well.
    for root in [root, outer] {
        let train = opened(DatasetName::Cub200, root, Split::Train);
        assert_eq!(train.classes, ["Black_footed_Albatross", "Laysan_Albatross"]);
        assert_eq!(labels(&train), [0, 1]);
        assert_eq!(train.records[0].boxes, [BBox::new(1.0, 2.0, 4.0, 6.0)]);
        assert_eq!(foreground(&train, 0, GroundTruth::Auto), 9);
        assert_eq!(foreground(&train, 1, GroundTruth::Auto), 4);
        assert_eq!(opened(DatasetName::Cub200, root, Split::Test).records.len(), 1);
    }
    std::fs::remove_file(root.join("images/002.L/b.jpg")).unwrap();
    let error = refused(DatasetName::Cub200, root, Split::Train);
    assert!(error.contains("1 of 2 images") && error.contains("002.L/b.jpg"), "{error}");
    let train = open(DatasetName::Cub200, root, Split::Train, &allow_missing()).unwrap();
    assert_eq!((train.classes.len(), train.missing.len()), (1, 1));

    write_text(&root.join("image_class_labels.txt"), "1 1\n2 7\n3 1\n");
    let error = refused(DatasetName::Cub200, root, Split::Train);
    assert!(error.contains("class 7, which classes.txt has not"), "{error}");
    write_text(&root.join("images.txt"), "1 ../../etc/passwd\n");
    let error = refused(DatasetName::Cub200, root, Split::Train);
    assert!(error.contains("../../etc/passwd, expected a path within images/"), "{error}");
}

#[test]
fn cifar_layout() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write_text(&root.join("fine_label_names.txt"), "apple\nbee\n");
    let record = |label: u8, red: u8| {
        let mut record = vec![0, label];
        record.extend([red; 1024]);
        record.extend((0..=255_u8).cycle().take(1024));
        record.extend([7; 1024]);
        record
    };
    std::fs::write(root.join("train.bin"), [record(1, 200), record(0, 100)].concat()).unwrap();
    std::fs::write(root.join("test.bin"), &record(1, 1)[..3000]).unwrap();
    let train = opened(DatasetName::Cifar100, root, Split::Train);
    assert_eq!((labels(&train), train.classes.len()), (vec![1, 0], 2));
    let image = train.records[1].source.load().unwrap();
    assert_eq!(image.dimensions(), (32, 32));
    assert_eq!(image.get_pixel(3, 1).0, [100, 35, 7]);
    let error = refused(DatasetName::Cifar100, root, Split::Test);
    assert!(error.contains("test.bin: 3000 bytes"), "{error}");
    std::fs::write(root.join("test.bin"), record(2, 0)).unwrap();
    let error = refused(DatasetName::Cifar100, root, Split::Test);
    assert!(error.contains("record 0 has label 2"), "{error}");
}

#[test]
fn dogs_layout() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    // The lists are SciPy's, see mat_files_of_scipy_are_read.
    for (name, list) in tch::Tensor::read_safetensors(golden_path("data_mat.safetensors")).unwrap()
    {
        let bytes: Vec<u8> = Vec::try_from(list).unwrap();
        let file = if name == "plain" { "train_list.mat" } else { "test_list.mat" };
        std::fs::write(root.join(file), bytes).unwrap();
    }
    for image in ["n1-a/n1_1.jpg", "n1-a/n1_2.jpg", "n2-bé/n2_1.jpg"] {
        write_image(&root.join("Images").join(image), 9, 9, [1; 3]);
    }
    write_text(&root.join("Annotation/n1-a/n1_2"), &voc(&[[0, 0, 2, 2], [4, 4, 6, 6]]));
    for split in [Split::Train, Split::Test] {
        let dataset = opened(DatasetName::Dogs, root, split);
        assert_eq!(dataset.classes, ["a", "bé"]);
        assert_eq!(labels(&dataset), [0, 0, 1]);
        assert_eq!(dataset.records[1].boxes.len(), 2);
        assert!(dataset.records[0].boxes.is_empty());
    }
    std::fs::write(root.join("test_list.mat"), b"MATLAB 7.3 MAT-file").unwrap();
    let error = refused(DatasetName::Dogs, root, Split::Train);
    assert!(error.contains("test_list.mat: no MAT file"), "{error}");
}

#[test]
fn check_finds_everything_at_once() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    pets(root);
    write_text(&root.join("annotations/xmls/Abyssinian_1.xml"), &voc(&[[1, 1, 30, 5]]));
    write_mask(&root.join("annotations/trimaps/Abyssinian_1.png"), 10, 8, |_, _| 2);
    write_mask(&root.join("annotations/trimaps/Abyssinian_2.png"), 9, 8, |_, _| 1);
    write_text(&root.join("images/Bengal_2.jpg"), "torn");
    std::fs::remove_file(root.join("images/Bengal_3.jpg")).unwrap();
    let done = std::sync::atomic::AtomicUsize::new(0);
    let report = check(DatasetName::Pets, root, &DataOptions::default(), |n, total| {
        assert!(n <= total && total == 4);
        done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(done.into_inner(), 4);
    assert!(!report.is_clean() && report.failed.is_empty());
    let [train, test] = &report.splits[..] else { panic!("{report:?}") };
    let kinds = |split: &super::super::check::SplitReport| -> Vec<(String, ProblemKind)> {
        split.problems.iter().map(|p| (p.id.clone(), p.kind.clone())).collect()
    };
    assert_eq!(
        kinds(train),
        [
            ("Abyssinian_1".to_owned(), ProblemKind::BoxOutside),
            ("Abyssinian_1".to_owned(), ProblemKind::EmptyMask),
            ("Bengal_2".to_owned(), ProblemKind::Unreadable),
        ]
    );
    assert_eq!(
        kinds(test),
        [
            ("Bengal".to_owned(), ProblemKind::EmptyClass),
            ("shiba_inu".to_owned(), ProblemKind::EmptyClass),
            ("Abyssinian_2".to_owned(), ProblemKind::Mask),
        ]
    );
    assert_eq!(test.missing, ["images/Bengal_3.jpg"]);
    assert_eq!((train.images, train.with_boxes, train.with_mask), (3, 2, 2));
    assert_eq!(train.published_images, Some(3680));

    let nothing =
        check(DatasetName::Pets, &root.join("images"), &DataOptions::default(), |_, _| {});
    assert_eq!((nothing.splits.len(), nothing.failed.len()), (0, 2));
}

#[test]
fn names_are_checked() {
    let error = "pet".parse::<DatasetName>().unwrap_err().to_string();
    for name in DatasetName::ALL {
        assert!(error.contains(name.as_str()), "{error}");
        assert_eq!(name.to_string().parse::<DatasetName>().unwrap(), name);
    }
    for name in ["val", "valid", "validation"] {
        assert_eq!(name.parse::<Split>().unwrap(), Split::Validation);
    }
    assert_eq!(Split::Validation.to_string(), "val");
    assert!("validate".parse::<Split>().is_err());
}

#[test]
fn subsets_keep_the_classes_in_proportion() {
    let dataset = || opened(DatasetName::Synthetic, ".".as_ref(), Split::Test);
    let images = dataset().records.len();
    assert_eq!(dataset().limit(50).class_counts(), [5; 10]);
    assert_eq!(dataset().limit(images * 2).records.len(), images);
    let (train, held) = dataset().hold_out(0.2, 1).unwrap();
    assert_eq!(held.class_counts(), [images / 50; 10]);
    assert_eq!(train.records.len() + held.records.len(), images);
    let mut ids: Vec<&str> =
        train.records.iter().chain(&held.records).map(|record| record.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), images);
    assert!(dataset().hold_out(0.0, 1).is_err());
}

#[test]
fn labels_follow_the_classes_of_a_network() {
    let root = tempfile::tempdir().unwrap();
    pets(root.path());
    let train = || opened(DatasetName::Pets, root.path(), Split::Train);
    let classes = ["shiba_inu", "pug", "Abyssinian", "Bengal"].map(str::to_owned);
    let relabelled = train().relabelled(&classes).unwrap();
    assert_eq!(labels(&relabelled), [2, 0, 3]);
    let error = train().relabelled(&classes[..3]).unwrap_err().to_string();
    assert!(error.contains("\"Bengal\""), "{error}");
}
