//! S-IB that is told where the objects are: trained, refused, and kept apart from the paper's.

use std::fs;

use crate::workplace::{Workplace, assert_refused, assert_success, read, read_csv};

const TOLD: &str = "sib.mask.source=annotation";

#[test]
fn a_network_that_was_told_has_rows_of_its_own() {
    let place = Workplace::new();
    let short = ["train.epochs=1", "data.limit_train=16", "train.seed=5"];
    for (run, sib) in [("plain", &["sib.enabled=false"][..]), ("own", &[]), ("told", &[TOLD])] {
        let run = format!("runs/{run}");
        assert_success(&place.train(&run, &[&short, sib].concat()));
        assert_success(&place.run(&[
            "evaluate",
            "--checkpoint",
            &run,
            "--data",
            "synthetic",
            "--suite",
            "accuracy,information",
            "--output",
            &format!("{run}/evaluation"),
        ]));
    }
    let summary = read_csv(&place.path("runs/told/evaluation/summary.csv"));
    assert!(summary.iter().all(|row| row["training"] == "s-ib-annotation"));
    // Every pixel of a batch is in or out, which the network's own mask is of none.
    let whole = |run: &str| -> Vec<bool> {
        let steps = String::from_utf8(read(&place.path(run).join("metrics.csv"))).unwrap();
        let shares =
            steps.lines().filter_map(|line| line.split_once(",mask_mean,")?.1.parse().ok());
        let pixels = |share: f64| share * f64::from(16 * 32 * 32);
        shares.map(|share| (pixels(share) - pixels(share).round()).abs() < 1e-2).collect()
    };
    assert!(whole("runs/told").iter().all(|whole| *whole) && !whole("runs/told").is_empty());
    assert!(whole("runs/own").iter().all(|whole| !whole));

    for (table, baselines) in [("2", 2), ("3", 2)] {
        let files = ["--output", "table.csv", "--markdown", "table.md"];
        assert_success(&place.run(&[&["table", table, "--runs", "runs"][..], &files].concat()));
        let rows = read_csv(&place.path("table.csv"));
        let told = rows.iter().filter(|row| row["network"] == "s-ib-annotation");
        assert_eq!(told.count() * 2, rows.len());
        let text = String::from_utf8(read(&place.path("table.md"))).unwrap();
        assert!(text.contains("ResNet-18, S-IB by annotation"), "{text}");
        let metric = &rows[rows.len() - 1]["metric"];
        let same: Vec<_> = rows.iter().filter(|row| row["metric"] == *metric).collect();
        assert_eq!(same.len(), baselines, "{text}");
        assert_eq!(same[0]["baseline"], same[1]["baseline"]);
    }
    let three = read_csv(&place.path("table.csv"));
    let differential = |row: usize, column: &str| three[row][column].parse::<f64>().unwrap().ln();
    // Scores over three networks, the baseline's counted once.
    let [own, told] = [0, 3].map(|row| differential(row, "s_ib"));
    assert!((differential(0, "baseline") + own + told).abs() < 1e-9);
    assert_success(&place.run(&["figure", "5", "--runs", "runs", "--output", "figure5.svg"]));
    let figure = String::from_utf8(read(&place.path("figure5.svg"))).unwrap();
    assert!(figure.contains("S-IB by annotation") && figure.contains("random pairs"), "{figure}");
}

#[test]
fn without_annotations_training_does_not_start() {
    let place = Workplace::new();
    let export = ["data", "export", "--data", "synthetic", "--split", "train", "--limit", "8"];
    assert_success(&place.run(&[&export[..], &["--output", "images"]].concat()));
    for (number, entry) in fs::read_dir(place.path("images")).unwrap().enumerate() {
        let from = entry.unwrap().path();
        let class = ["a", "b"][number % 2];
        for split in ["train", "test"] {
            let folder = place.path("data").join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            fs::copy(&from, folder.join(from.file_name().unwrap())).unwrap();
        }
    }
    let data = ["data.name=folder", "data.root=data", "train.batch_size=4"];
    let refused = place.train("run", &[&data[..], &[TOLD]].concat());
    assert_refused(
        &refused,
        2,
        "sib.mask.annotation: got auto, expected a mask or boxes for every image",
    );
    assert_refused(&refused, 2, "8 of 8 have none, such as");
    let mix = "data.mix={ cut-mix = { alpha = 1.0 } }";
    assert_refused(
        &place.train("run", &[TOLD, mix]),
        2,
        "data.mix: expected none with sib.mask.source",
    );
    assert!(!place.path("run").exists());
    let explain = ["explain", "--checkpoint", "x", "--image", "x", "--output", "y", "--set"];
    let map = place.run(&[&explain[..], &["s-ib-map.mask.source=annotation"]].concat());
    assert_refused(&map, 2, "s-ib-map.mask.source: got annotation, expected network");
}
