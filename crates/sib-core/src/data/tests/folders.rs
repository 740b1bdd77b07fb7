//! Which files are images, which folders are classes, and which splits there are.

use std::path::Path;

use super::super::check::{ProblemKind, check};
use super::super::files::{self, has_image_ending};
use super::super::{DataOptions, Dataset, DatasetName, GroundTruth, Split, splits};
use super::layouts::{labels, opened, pets, refused, write_mask};
use super::{write_image, write_text};

fn ids(dataset: &Dataset) -> Vec<&str> {
    dataset.records.iter().map(|record| record.id.as_str()).collect()
}

fn images(root: &Path, ids: &[&str]) {
    ids.iter().for_each(|id| write_image(&root.join(id), 6, 4, [1; 3]));
}

#[test]
fn images_of_every_ending_and_depth_are_found_and_the_rest_is_listed() {
    for name in ["imagenet", "folder"] {
        let name: DatasetName = name.parse().unwrap();
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let expected = [
            "train/cat/A.jpeg",
            "train/cat/a.BMP",
            "train/cat/b.webp",
            "train/cat/sub/d.tiff",
            "train/cat/sub-1/c.gif",
            "train/cat/sub/deep/e.ppm",
            "train/dog/f.JFIF",
            "train/dog/g.jpe",
        ];
        images(root, &expected);
        images(root, &["val/cat/x.png", "val/dog/y.png"]);
        // What programs leave behind is neither image nor class, and nobody's business.
        for hidden in [
            "train/.ipynb_checkpoints/a-checkpoint.png",
            "train/__MACOSX/cat/._A.jpeg",
            "train/cat/._A.jpeg",
            "train/cat/.ipynb_checkpoints/b.png",
            "train/.DS_Store",
        ] {
            write_image(&root.join(hidden), 6, 4, [1; 3]);
        }
        for other in ["train/cat/h.avif", "train/cat/sub/Thumbs.db", "train/loose.png"] {
            write_text(&root.join(other), "");
        }
        let train = opened(name, root, Split::Train);
        assert_eq!(train.classes, ["cat", "dog"], "{name}");
        assert_eq!(ids(&train), expected, "{name}");
        assert_eq!(labels(&train), [0, 0, 0, 0, 0, 0, 1, 1], "{name}");
        let ignored = ["train/loose.png", "train/cat/h.avif", "train/cat/sub/Thumbs.db"];
        assert_eq!(train.ignored, ignored, "{name}");
        let remark = "train split: 3 files that are no images by their names are left out, such as \
                      train/loose.png";
        assert_eq!(train.remarks(), [remark], "{name}");
        assert!(opened(name, root, Split::Test).remarks().is_empty());
        let report = check(name, root, &DataOptions::default(), |_, _| {});
        assert_eq!(report.splits[0].ignored, ignored);
        assert!(report.is_clean(), "{report:?}");
    }
    for ending in ["ppm", "PGM", "pbm", "pnm", "TIF", "Png", "jpg"] {
        assert!(has_image_ending(format!("x.{ending}").as_ref()), "{ending}");
    }
    for name in ["jpg", "x.jpg.txt", "x.avif", "x.", "x.jpgx"] {
        assert!(!has_image_ending(name.as_ref()), "{name}");
    }
}

#[test]
fn links_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    let (outside, root) = (root.path().join("outside"), root.path().join("data"));
    images(&outside, &["cats/a.png", "b.png"]);
    images(&root, &["train/dog/c.png"]);
    symlink(outside.join("cats"), root.join("train/cat")).unwrap();
    symlink(outside.join("b.png"), root.join("train/dog/b.png")).unwrap();
    symlink(root.join("train"), root.join("train/dog/again")).unwrap();
    symlink("nowhere.png", root.join("train/dog/gone.png")).unwrap();
    let found = files::find(&root.join("train/dog")).unwrap();
    assert_eq!(found.others, [root.join("train/dog/again/dog")]);
    let train = opened(DatasetName::Folder, &root, Split::Train);
    assert_eq!(
        ids(&train),
        [
            "train/cat/a.png",
            "train/dog/b.png",
            "train/dog/c.png",
            // A link to nowhere is an image that cannot be read, not one that is not there.
            "train/dog/gone.png",
            "train/dog/again/cat/a.png",
        ]
    );
    assert!(train.records[3].source.load().unwrap_err().to_string().contains("gone.png"));
}

#[test]
fn a_folder_may_have_a_validation_split() {
    for name in ["val", "valid", "validation"] {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        images(root, &["train/cat/a.png", "train/dog/b.png", &format!("{name}/cat/c.png")]);
        images(root, &[&format!("{name}/dog/d.png")]);
        // Without test/ it is the test split, under whatever name it is asked for.
        assert_eq!(splits(DatasetName::Folder, root).unwrap(), [Split::Train, Split::Test]);
        for split in [Split::Test, Split::Validation] {
            let test = opened(DatasetName::Folder, root, split);
            assert_eq!((test.split, test.records.len()), (Split::Test, 2), "{name}");
        }

        images(root, &["test/cat/e.png", "test/dog/f.png", "test/dog/g.png"]);
        write_text(
            &root.join("boxes.csv"),
            &format!("image,x0,y0,x1,y1\n{name}/cat/c.png,1,1,3,3\ntest/cat/e.png,0,0,2,2\n"),
        );
        write_mask(&root.join(format!("masks/{name}/dog/d.png")), 6, 4, |x, _| u8::from(x < 3));
        let all = [Split::Train, Split::Test, Split::Validation];
        assert_eq!(splits(DatasetName::Folder, root).unwrap(), all);
        let test = opened(DatasetName::Folder, root, Split::Test);
        assert_eq!((test.split, test.records.len()), (Split::Test, 3));
        let validation = opened(DatasetName::Folder, root, Split::Validation);
        assert_eq!(validation.split, Split::Validation);
        assert_eq!(ids(&validation), [format!("{name}/cat/c.png"), format!("{name}/dog/d.png")]);
        assert_eq!(validation.records[0].boxes.len(), 1);
        assert!(GroundTruth::Mask.of(&validation.records[1]).is_some());
        let remarks = validation.remarks();
        let remark = format!("val split: 1 of 2 images have no mask, such as {name}/cat/c.png");
        assert_eq!(remarks, [remark]);
        let report = check(DatasetName::Folder, root, &DataOptions::default(), |_, _| {});
        assert_eq!(report.splits.iter().map(|split| split.split).collect::<Vec<_>>(), all);
        assert!(report.is_clean(), "{report:?}");

        // Classes are those of all splits.
        images(root, &[&format!("{name}/emu/h.png")]);
        let error = refused(DatasetName::Folder, root, Split::Train);
        assert!(error.contains("class \"emu\" has no image in the train split"), "{error}");
    }
}

#[test]
fn a_validation_split_that_is_not_there_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    images(root, &["train/cat/a.png", "test/cat/b.png"]);
    let error = refused(DatasetName::Folder, root, Split::Validation);
    assert!(error.contains("no validation split, expected val/ beside train/"), "{error}");
    images(root, &["val/cat/a.png", "valid/cat/b.png"]);
    for split in [Split::Train, Split::Test, Split::Validation] {
        let error = refused(DatasetName::Folder, root, split);
        assert!(error.contains("val/ and valid/, expected one validation split"), "{error}");
    }
    let report = check(DatasetName::Folder, root, &DataOptions::default(), |_, _| {});
    assert!(!report.failed.is_empty());

    for name in [DatasetName::Pets, DatasetName::Cifar100, DatasetName::Synthetic] {
        let error = refused(name, root, Split::Validation);
        assert!(error.contains(&format!("{name} has no validation split")), "{error}");
        assert_eq!(splits(name, root).unwrap(), [Split::Train, Split::Test]);
    }
    // ImageNet's val/ is what it is tested on.
    let root = tempfile::tempdir().unwrap();
    images(root.path(), &["train/n01/a.JPEG", "val/n01/b.JPEG"]);
    let val = opened(DatasetName::ImageNet, root.path(), Split::Validation);
    assert_eq!((val.split, ids(&val)), (Split::Test, vec!["val/n01/b.JPEG"]));
}

#[test]
fn a_class_without_images_is_a_problem_of_the_split() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    images(root, &["train/cat/a.png", "train/dog/b.png", "test/cat/c.png"]);
    let empty = |name, root: &Path| {
        let report = check(name, root, &DataOptions::default(), |_, _| {});
        assert!(!report.is_clean(), "{report:?}");
        let test = report.splits.into_iter().find(|split| split.split == Split::Test).unwrap();
        let problems = test.problems.into_iter();
        let empty = problems.filter(|problem| problem.kind == ProblemKind::EmptyClass);
        empty.map(|problem| problem.detail).collect::<Vec<_>>()
    };
    let expected = ["class \"dog\" has no image in the test split"];
    assert_eq!(empty(DatasetName::Folder, root), expected);
    // Neither an empty folder nor one of other files is a class that can be tested on.
    std::fs::create_dir_all(root.join("test/dog")).unwrap();
    assert_eq!(empty(DatasetName::Folder, root), expected);
    write_text(&root.join("test/dog/readme.txt"), "");
    assert_eq!(empty(DatasetName::Folder, root), expected);
    std::fs::create_dir_all(root.join("train/emu")).unwrap();
    let error = refused(DatasetName::Folder, root, Split::Train);
    assert!(error.contains("class \"emu\" has no image in the train split"), "{error}");

    let root = tempfile::tempdir().unwrap();
    write_text(&root.path().join("train/cat/a.heic"), "");
    let error = refused(DatasetName::Folder, root.path(), Split::Train);
    let said = "no image in the train split, but 1 files with other endings than images have, such as \
                train/cat/a.heic";
    assert!(error.contains(said), "{error}");

    let root = tempfile::tempdir().unwrap();
    pets(root.path());
    let expected = ["class \"shiba_inu\" has no image in the test split"];
    assert_eq!(empty(DatasetName::Pets, root.path()), expected);
}

#[test]
fn masks_of_no_image_are_listed() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    images(root, &["train/cat/a.jpg", "train/cat/sub/b.c.png", "train/cat/d.png"]);
    for mask in ["cat/a.png", "cat/sub/b.c.png", "cat/d_mask.png", "dog/a.png", "cat/._a.png"] {
        write_mask(&root.join("masks/train").join(mask), 6, 4, |_, _| 1);
    }
    let train = opened(DatasetName::Folder, root, Split::Train);
    let masked = |record: &super::super::Record| record.mask.is_some();
    assert_eq!(train.records.iter().map(masked).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(train.ignored, ["masks/train/cat/d_mask.png", "masks/train/dog/a.png"]);
}
