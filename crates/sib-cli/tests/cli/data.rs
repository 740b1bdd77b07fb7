//! `data` from end to end.

use crate::workplace::{Workplace, assert_refused, assert_success, stderr};

#[test]
fn every_dataset_is_described() {
    let output = Workplace::new().run(&["data", "list"]);
    assert_success(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    for name in ["cifar100", "imagenet", "cub200", "pets", "dogs", "folder", "synthetic"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("{name}: "))), "{name}");
    }
    assert_eq!(text.matches("  licence ").count(), 7);
}

#[test]
fn a_check_counts_what_is_there_and_names_what_is_not() {
    let place = Workplace::new();
    let output = place.run(&[
        "data",
        "export",
        "--data",
        "synthetic",
        "--split",
        "test",
        "--limit",
        "6",
        "--output",
        "images",
    ]);
    assert_success(&output);
    let folder = place.path("data");
    for split in ["train", "test"] {
        for (index, image) in std::fs::read_dir(place.path("images")).unwrap().enumerate() {
            let image = image.unwrap();
            let class = folder.join(split).join(["one", "two"][index % 2]);
            std::fs::create_dir_all(&class).unwrap();
            std::fs::copy(image.path(), class.join(image.file_name())).unwrap();
        }
    }
    let check = ["data", "check", "--data", "folder", "--root", "data"];
    let output = place.run(&check);
    assert_success(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("train: 6 images") && text.contains("2 classes"), "{text}");

    std::fs::write(folder.join("train/one/broken.png"), "not an image").unwrap();
    let boxes = "image,x0,y0,x1,y1\n";
    std::fs::write(folder.join("boxes.csv"), format!("{boxes}train/one/none.png,0,0,5,5\n"))
        .unwrap();
    let output = place.run(&check);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(String::from_utf8(output.stdout).unwrap().contains("none.png"));
    std::fs::remove_file(folder.join("boxes.csv")).unwrap();
    let output = place.run(&check);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(String::from_utf8(output.stdout).unwrap().contains("broken.png"));
}

#[test]
fn an_archive_that_is_not_there_is_refused_with_its_layout() {
    let place = Workplace::new();
    let output = place.run(&["data", "check", "--data", "cub200", "--root", "nowhere"]);
    assert_refused(&output, 1, "nowhere");
}

/// Images of the built-in data, six of them.
fn images(place: &Workplace) -> Vec<std::path::PathBuf> {
    let export = ["data", "export", "--data", "synthetic", "--limit", "6", "--output", "images"];
    assert_success(&place.run(&export));
    let mut images: Vec<_> =
        std::fs::read_dir(place.path("images")).unwrap().map(|it| it.unwrap().path()).collect();
    images.sort();
    images
}

#[test]
fn a_check_lists_what_is_left_out_and_every_fault_of_the_annotations() {
    let place = Workplace::new();
    let images = images(&place);
    let data = place.path("data");
    let copy = |image: usize, to: &str| {
        let to = data.join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&images[image], to).unwrap();
    };
    for split in ["train", "test", "val"] {
        copy(0, &format!("{split}/one/a.jfif"));
        copy(1, &format!("{split}/two/deep/b.TIF"));
        copy(2, &format!("{split}/.ipynb_checkpoints/c.png"));
    }
    for junk in ["train/one/photo.heic", "train/two/Thumbs.db", "train/one/._a.png"] {
        std::fs::write(data.join(junk), "").unwrap();
    }
    let check = ["data", "check", "--data", "folder", "--root", "data"];
    let output = place.run(&check);
    assert_success(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    for split in ["train", "test", "val"] {
        assert!(text.contains(&format!("{split}: 2 images, 2 classes")), "{text}");
    }
    assert!(text.contains("0 with problems, 2 files left out"), "{text}");
    for path in ["train/one/photo.heic", "train/two/Thumbs.db"] {
        assert!(text.contains(&format!("  left out: {path}\n")), "{text}");
    }
    assert!(!text.contains("._a.png") && !text.contains("ipynb"), "{text}");

    let export = ["data", "export", "--data", "folder", "--root", "data", "--split"];
    assert_success(&place.run(&[&export[..], &["val", "--output", "val"]].concat()));
    assert!(place.path("val/two-val-two-deep-b.TIF.png").is_file());
    // Two images whose exported names are one.
    copy(3, "val/two/deep-b.TIF");
    let output = place.run(&[&export[..], &["val", "--output", "again"]].concat());
    assert_refused(&output, 1, "the name of two images");
    std::fs::remove_file(data.join("val/two/deep-b.TIF")).unwrap();

    let boxes = "image,x0,y0,x1,y1\ntrain/one/a.jfif,5,5,5,9\nval/two/deep/b.TIF,1,x,2,3\n";
    std::fs::write(data.join("boxes.csv"), boxes).unwrap();
    std::fs::remove_file(data.join("test/two/deep/b.TIF")).unwrap();
    let output = place.run(&check);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    for fault in [
        "boxes.csv: line 2: empty box (5, 5, 5, 9)",
        "boxes.csv: line 3: expected numbers for x0, y0, x1 and y1",
        "class \"two\" has no image in the test split",
    ] {
        assert!(text.contains(fault), "{text}");
    }
    // Boxes that nobody asks for stop nothing.
    assert_success(&place.run(&[&export[..], &["val", "--output", "third"]].concat()));
}

#[test]
fn a_split_that_a_dataset_has_not_is_refused() {
    let place = Workplace::new();
    let export = ["data", "export", "--data", "synthetic", "--output", "images", "--split"];
    let output = place.run(&[&export[..], &["val"]].concat());
    assert_refused(&output, 2, "synthetic has no validation split");
    let output = place.run(&[&export[..], &["dev"]].concat());
    assert_refused(&output, 2, "expected train, test or val");
}
