//! Text files as they come from other software, and boxes that cannot be used.

use std::path::Path;

use super::super::check::{ProblemKind, check};
use super::super::loader::{Loader, LoaderOptions, OnUnreadable};
use super::super::{
    BBox, DataOptions, Dataset, DatasetName, GroundTruth, Split, Transform, layout, voc,
};
use super::layouts::{labels, opened, pets, refused};
use super::{write_image, write_text};

#[test]
fn voc_objects_may_have_other_elements_between_them() {
    let bounds = |x: u32| {
        format!("<bndbox><ymax>4</ymax><xmin> {x} </xmin><xmax>9.5</xmax><ymin>2</ymin></bndbox>")
    };
    let boxes = voc::parse(&format!(
        "<annotation verified=\"yes\"><object id=\"0\"><name>a</name>{}<part><name>head</name>{}\
         </part></object><segmented>0</segmented><object>{}</object><!-- two --><source>\
         <database>x</database></source><object><difficult>1</difficult>{}</object></annotation>",
        bounds(1),
        bounds(7),
        bounds(2),
        bounds(3)
    ));
    assert_eq!(boxes, Ok([1.0, 2.0, 3.0].map(|x| BBox::new(x, 2.0, 9.5, 4.0)).to_vec()));
}

/// The text as Windows' editors and Excel save it.
fn marked(text: &str) -> [Vec<u8>; 3] {
    let words = |bytes: fn(u16) -> [u8; 2]| {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(bytes).collect()
    };
    [[b"\xef\xbb\xbf", text.as_bytes()].concat(), words(u16::to_le_bytes), words(u16::to_be_bytes)]
}

/// Saves each text file below `folder` in form `form` of [`marked`].
fn mark(folder: &Path, form: usize) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let ending = path.extension().unwrap_or_default();
        if path.is_dir() {
            mark(&path, form);
        } else if ["txt", "csv", "xml"].iter().any(|text| ending == *text) {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, &marked(&text)[form]).unwrap();
        }
    }
}

fn cub(root: &Path, classes: &str, boxes: &str) {
    write_text(&root.join("classes.txt"), classes);
    write_text(&root.join("images.txt"), "1 001.B/a.jpg\n2 002.L/b c.jpg\n3 001.B/c.jpg\n");
    write_text(&root.join("image_class_labels.txt"), "1 1\n2 2\n3 1\n");
    write_text(&root.join("train_test_split.txt"), "1 1\n2 1\n3 0\n");
    write_text(&root.join("bounding_boxes.txt"), boxes);
    for image in ["001.B/a.jpg", "002.L/b c.jpg", "001.B/c.jpg"] {
        write_image(&root.join("images").join(image), 9, 9, [1; 3]);
    }
}

fn folder(root: &Path, boxes: &str) {
    for id in ["train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "test/dog/d.png"] {
        write_image(&root.join(id), 8, 8, [1; 3]);
    }
    write_text(&root.join("boxes.csv"), boxes);
}

fn cifar(root: &Path, names: &str) {
    write_text(&root.join("fine_label_names.txt"), names);
    for split in ["train.bin", "test.bin"] {
        let records = [0, 1].map(|label| [&[0, label], &[9; 3072][..]].concat());
        std::fs::write(root.join(split), records.concat()).unwrap();
    }
}

#[test]
fn byte_order_marks_are_no_part_of_a_text() {
    type Make = fn(&Path);
    let datasets: [(DatasetName, Make); 4] = [
        (DatasetName::Pets, pets),
        (DatasetName::Cub200, |root| {
            cub(root, "1 001.é one\n2 002.two\n", "1 1 1 2 2\n2 1 1 3 3\n3 1 1 4 4\n");
        }),
        (DatasetName::Folder, |root| {
            folder(
                root,
                "image,x0,y0,x1,y1\r\ntrain/cat/a.png, 1,1, 3,3\r\ntest/dog/d.png,1,1,2,2\r\n",
            );
        }),
        (DatasetName::Cifar100, |root| cifar(root, "äpple\nbee\n")),
    ];
    for (name, make) in datasets {
        let facts = |dataset: Dataset| {
            let boxes = dataset.records.iter().map(|record| (&record.boxes, &record.box_fault));
            (dataset.classes.clone(), labels(&dataset), format!("{:?}", boxes.collect::<Vec<_>>()))
        };
        let plain = tempfile::tempdir().unwrap();
        make(plain.path());
        let expected = facts(opened(name, plain.path(), Split::Train));
        for form in 0..3 {
            let root = tempfile::tempdir().unwrap();
            make(root.path());
            mark(root.path(), form);
            assert_eq!(facts(opened(name, root.path(), Split::Train)), expected, "{name} {form}");
        }
    }
    assert_eq!(layout::text(b"caf\xe9"), None);
    assert_eq!(layout::text(b"\xff\xfea"), None);
}

/// Trains without boxes on each dataset; asks for them by name of image; lists all of them.
fn assert_faults(name: DatasetName, root: &Path, faulty: &[(&str, &str)]) {
    let train = || opened(name, root, Split::Train);
    let epoch = |ground_truth, on_unreadable| {
        let transform = Transform::evaluation(8, 8, [0.0; 3], [1.0; 3]).unwrap();
        let options = LoaderOptions { ground_truth, on_unreadable, ..Default::default() };
        Loader::new(train(), transform, options).unwrap().epoch(0, 0)
    };
    let images = train().records.len();
    let batch = epoch(None, OnUnreadable::Fail).next().unwrap().unwrap();
    assert_eq!(batch.len(), images, "{name}");

    let error = epoch(Some(GroundTruth::Box), OnUnreadable::Fail).next().unwrap().unwrap_err();
    assert!(error.to_string().contains(faulty[0].1), "{name}: {error}");
    let mut skipping = epoch(Some(GroundTruth::Box), OnUnreadable::Skip);
    let kept: usize = skipping.by_ref().map(|batch| batch.unwrap().len()).sum();
    assert_eq!(kept, images - faulty.len(), "{name}");
    let unreadable = skipping.unreadable();
    for (image, (id, problem)) in unreadable.iter().zip(faulty) {
        assert!(image.id == *id && image.error.contains(problem), "{name}: {image:?}");
    }
    let mut annotated = train();
    annotated.retain_annotated(GroundTruth::Box);
    assert!(annotated.records.iter().any(|record| record.id == faulty[0].0), "{name}");
    let remarks = train().remarks().join("\n");
    let remark = format!("{} images have boxes that cannot be used", faulty.len());
    assert!(remarks.contains(&remark), "{name}: {remarks}");

    let report = check(name, root, &DataOptions::default(), |_, _| {});
    assert!(!report.is_clean());
    let problems: Vec<_> = report.splits[0]
        .problems
        .iter()
        .filter(|problem| problem.kind == ProblemKind::Boxes)
        .map(|problem| (problem.id.as_str(), problem.detail.as_str()))
        .collect();
    assert_eq!(problems.len(), faulty.len(), "{name}: {problems:?}");
    for ((id, detail), (expected, problem)) in problems.iter().zip(faulty) {
        assert!(id == expected && detail.contains(problem), "{name}: {id}: {detail}");
    }
}

#[test]
fn boxes_fail_where_they_are_used() {
    let root = tempfile::tempdir().unwrap();
    pets(root.path());
    let xml = |image: &str, text: &str| {
        write_text(&root.path().join(format!("annotations/xmls/{image}.xml")), text);
    };
    xml("Abyssinian_1", "<annotation><object><bndbox>");
    xml(
        "shiba_inu_7",
        "<annotation><object><bndbox><xmin>5</xmin><ymin>1</ymin><xmax>5</xmax><ymax>9</ymax>\
         </bndbox></object></annotation>",
    );
    assert_faults(
        DatasetName::Pets,
        root.path(),
        &[
            ("Abyssinian_1", "Abyssinian_1.xml: no VOC annotation"),
            ("shiba_inu_7", "shiba_inu_7.xml: empty box (5, 1, 5, 9)"),
        ],
    );

    let root = tempfile::tempdir().unwrap();
    cub(root.path(), "1 001.one\n2 002.two\n", "1 1 1 0 2\nnonsense\n3 1 1 4 4\n");
    assert_faults(
        DatasetName::Cub200,
        root.path(),
        &[
            ("001.B/a.jpg", "bounding_boxes.txt: line 1: empty box"),
            // Which image the second line is of nobody knows: it may be this one.
            ("002.L/b c.jpg", "bounding_boxes.txt: line 2: expected `id x y width height`"),
        ],
    );
    assert!(opened(DatasetName::Cub200, root.path(), Split::Test).records[0].box_fault.is_none());

    let root = tempfile::tempdir().unwrap();
    folder(
        root.path(),
        "image,x0,y0,x1,y1\ntrain/cat/a.png,1,1,3,3\ntrain/cat/a.png,,1,3,3\n\
         train/dog/b.png,1,1,3\n",
    );
    assert_faults(
        DatasetName::Folder,
        root.path(),
        &[
            ("train/cat/a.png", "boxes.csv: line 3: expected numbers for x0, y0, x1 and y1"),
            ("train/dog/b.png", "boxes.csv: line 4: 4 values, expected 5"),
        ],
    );
}

#[test]
fn boxes_of_no_split_are_counted_and_named() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let write = |rows: &str| folder(root, &format!("image,x0,y0,x1,y1\n{rows}"));
    // Of either split, whichever is opened.
    write("train/cat/a.png,1,1,3,3\ntest/dog/d.png,1,1,3,3\n");
    assert_eq!(opened(DatasetName::Folder, root, Split::Train).records[0].boxes.len(), 1);
    assert_eq!(opened(DatasetName::Folder, root, Split::Test).records[1].boxes.len(), 1);
    // A path from elsewhere, one of an image that is not there, a folder, one that leaves the root.
    for stray in ["cat/a.png", "/data/test/cat/c.png", "test/cat/x.png", "test/cat", "a.png", ""] {
        write(&format!("test/dog/d.png,1,1,3,3\n{stray},1,1,3,3\nval/e/f.png,1,1,2,2\n"));
        for split in [Split::Train, Split::Test] {
            let error = refused(DatasetName::Folder, root, split);
            let first = [stray, "val/e/f.png"].into_iter().min().unwrap();
            let said = format!("boxes of 2 images that are in no split, such as \"{first}\"");
            assert!(error.contains("boxes.csv") && error.contains(&said), "{error}");
        }
    }
    write_text(&root.join("boxes.csv"), "image;x0;y0;x1;y1\n");
    let error = refused(DatasetName::Folder, root, Split::Train);
    assert!(error.contains("header image;x0;y0;x1;y1, expected image,x0,y0,x1,y1"), "{error}");
}

#[test]
fn a_line_that_is_there_twice_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let classes = "1 001.one\n2 002.two\n";
    let boxes = "1 1 1 2 2\n2 1 1 3 3\n1 1 1 4 4\n";
    cub(root, classes, boxes);
    let train = opened(DatasetName::Cub200, root, Split::Train);
    let fault = train.records[0].box_fault.as_ref().unwrap().to_string();
    assert!(fault.contains("line 3: image 1 has a box already"), "{fault}");
    for (file, text, problem) in [
        ("image_class_labels.txt", "1 1\n2 2\n3 1\n1 2\n", "line 4: 1 is there twice"),
        ("train_test_split.txt", "1 1\n2 2\n3 0\n", "line 2: expected `id 0 or 1`"),
        ("images.txt", "1 001.B/a.jpg\n2 001.B/a.jpg\n", "image \"001.B/a.jpg\" is there twice"),
    ] {
        cub(root, classes, boxes);
        write_text(&root.join(file), text);
        let error = refused(DatasetName::Cub200, root, Split::Train);
        assert!(error.contains(file) && error.contains(problem), "{error}");
    }

    let root = tempfile::tempdir().unwrap();
    pets(root.path());
    let line = "Abyssinian_2 1 1 1\n";
    write_text(&root.path().join("annotations/test.txt"), &line.repeat(2));
    let error = refused(DatasetName::Pets, root.path(), Split::Test);
    let said = "test.txt: image \"Abyssinian_2\" is there twice";
    assert!(error.contains(said), "{error}");
}

#[test]
fn a_class_named_twice_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    cub(root.path(), "1 001.crane\n2 002.crane\n", "");
    let error = refused(DatasetName::Cub200, root.path(), Split::Train);
    assert!(error.contains("names class \"crane\" twice"), "{error}");
    // Only a running number is cut off, and nothing after a space.
    cub(root.path(), "1 St.Bernard dog\n2 002.Bernard dog\n", "");
    let train = opened(DatasetName::Cub200, root.path(), Split::Train);
    assert_eq!(train.classes, ["St.Bernard dog", "Bernard dog"]);
    let error = train.relabelled(&["crane", "owl", "crane"].map(str::to_owned)).unwrap_err();
    assert!(error.to_string().contains("names class \"crane\" twice"), "{error}");

    let root = tempfile::tempdir().unwrap();
    cifar(root.path(), "bee\nbee\n");
    let error = refused(DatasetName::Cifar100, root.path(), Split::Test);
    assert!(error.contains("names class \"bee\" twice"), "{error}");

    let root = tempfile::tempdir().unwrap();
    pets(root.path());
    write_image(&root.path().join("images/Bengal_9.jpg"), 9, 9, [1; 3]);
    for (line, problem) in [
        ("Bengal_9 3 1 1", "class 3 is both \"shiba_inu\" and \"Bengal\""),
        ("Bengal_9 4 1 1", "names class \"Bengal\" twice"),
    ] {
        write_text(&root.path().join("annotations/test.txt"), &format!("{line}\n"));
        let error = refused(DatasetName::Pets, root.path(), Split::Train);
        assert!(error.contains(problem), "{error}");
    }
}
