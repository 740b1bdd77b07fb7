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
