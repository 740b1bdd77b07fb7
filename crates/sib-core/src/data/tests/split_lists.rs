//! Folders whose splits are a list.

use std::path::Path;

use super::super::check::check;
use super::super::split_list::SplitList;
use super::super::{DataOptions, Dataset, DatasetName, GroundTruth, Split, open, splits};
use super::layouts::{labels, opened, refused, write_mask};
use super::{write_image, write_text};

fn ids(dataset: &Dataset) -> Vec<&str> {
    dataset.records.iter().map(|record| record.id.as_str()).collect()
}

fn listed(root: &Path, rows: &str) {
    write_text(&root.join("splits.csv"), &format!("image,split\n{rows}"));
}

#[test]
fn a_list_says_which_image_is_of_which_split() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for id in ["dog/a.png", "dog/deep/b.png", "dog/c.png", "cat/a.png", "cat/b.png"] {
        write_image(&root.join(id), 6, 4, [1; 3]);
    }
    write_mask(&root.join("masks/dog/deep/b.png"), 6, 4, |x, _| u8::from(x < 2));
    write_text(&root.join("boxes.csv"), "image,x0,y0,x1,y1\ncat/a.png,1,1,3,3\n");
    listed(root, "dog/deep/b.png,train\ncat/b.png,train\ncat/a.png,test\ndog/a.png,test\n");
    let train = opened(DatasetName::Folder, root, Split::Train);
    assert_eq!(ids(&train), ["dog/deep/b.png", "cat/b.png"]);
    assert_eq!((labels(&train), train.classes.join(" ")), (vec![1, 0], "cat dog".to_owned()));
    assert!(GroundTruth::Mask.of(&train.records[0]).is_some());
    // The one that the list does not name.
    assert!(train.remarks().iter().any(|line| line.ends_with("left out, such as dog/c.png")));
    let test = opened(DatasetName::Folder, root, Split::Test);
    assert_eq!((ids(&test), test.records[0].boxes.len()), (vec!["cat/a.png", "dog/a.png"], 1));
    assert_eq!(splits(DatasetName::Folder, root).unwrap(), [Split::Train, Split::Test]);
    assert!(refused(DatasetName::Folder, root, Split::Validation).contains("no validation split"));

    let more =
        "dog/deep/b.png,train\ncat/b.png,train\ncat/a.png,test\ndog/a.png,test\ndog/c.png,val\n";
    listed(root, more);
    let validation = opened(DatasetName::Folder, root, Split::Validation);
    assert_eq!(ids(&validation), ["dog/c.png"]);
    let report = check(DatasetName::Folder, root, &DataOptions::default(), |_, _| {});
    assert!(report.splits.len() == 3 && report.splits.iter().all(|it| it.unlisted.is_empty()));
}

#[test]
fn a_list_that_cannot_be_used_says_why() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write_image(&root.join("dog/a.png"), 6, 4, [1; 3]);
    for (rows, problem) in [
        ("dog/a.png,dev\n", "line 2: split: got \"dev\", expected train, test or val"),
        ("dog/a.png,train\ndog/a.png,test\n", "image \"dog/a.png\" is there twice"),
        ("../dog/a.png,train\n", "\"../dog/a.png\", expected paths such as cat/1.jpg"),
        ("/dog/a.png,train\n", "expected paths such as"),
        ("a.png,train\n", "expected paths such as"),
        ("dog/./a.png,train\n", "expected paths such as"),
        ("dog//a.png,train\n", "expected paths such as"),
        ("dog/a.txt,train\n", "expected paths such as"),
        ("dog/a.png\n", "1 field"),
    ] {
        listed(root, rows);
        let error = refused(DatasetName::Folder, root, Split::Train);
        assert!(error.contains("splits.csv") && error.contains(problem), "{rows}: {error}");
    }
    write_text(&root.join("splits.csv"), "path,split\n");
    let error = refused(DatasetName::Folder, root, Split::Train);
    assert!(error.contains("header path,split, expected image,split"), "{error}");

    listed(root, "dog/a.png,train\ndog/b.png,train\n");
    assert!(refused(DatasetName::Folder, root, Split::Train).contains("dog/b.png"));
    let options = DataOptions { allow_missing: true, ..DataOptions::default() };
    let train = open(DatasetName::Folder, root, Split::Train, &options).unwrap();
    assert_eq!(
        (ids(&train), &train.missing[..]),
        (vec!["dog/a.png"], &["dog/b.png".to_owned()][..])
    );
    listed(root, "dog/a.png,train\n");
    write_text(&root.join("boxes.csv"), "image,x0,y0,x1,y1\ndog/z.png,1,1,3,3\n");
    let error = refused(DatasetName::Folder, root, Split::Train);
    assert!(error.contains("boxes of 1 images that are in no split"), "{error}");
}

#[test]
fn a_drawn_list_has_the_shares_of_every_class() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for (class, images) in [("dog", 10), ("cat", 20), ("emu", 1)] {
        (0..images).for_each(|n| write_text(&root.join(format!("{class}/{n}.png")), ""));
    }
    write_text(&root.join("masks/dog/0.png"), "");
    let draw = |seed| SplitList::draw(root, 0.2, 0.1, seed).unwrap();
    let drawn = draw(1);
    assert_eq!(
        [Split::Train, Split::Validation, Split::Test].map(|it| drawn.count(it)),
        [22, 3, 6]
    );
    assert_eq!(drawn, draw(1));
    assert_ne!(drawn, draw(2));
    assert_eq!(SplitList::draw(root, 0.2, 0.0, 1).unwrap().count(Split::Validation), 0);

    let path = root.join("splits.csv");
    std::fs::write(&path, drawn.to_csv()).unwrap();
    assert_eq!(SplitList::of(root).unwrap(), Some(drawn));
    for (split, [cat, dog, emu]) in [(Split::Train, [14, 7, 1]), (Split::Test, [4, 2, 0])] {
        assert_eq!(opened(DatasetName::Folder, root, split).class_counts(), [cat, dog, emu]);
    }
    let nothing = tempfile::tempdir().unwrap();
    let error = SplitList::draw(nothing.path(), 0.2, 0.1, 1).unwrap_err().to_string();
    assert!(error.contains("expected <class>/*"), "{error}");
}
