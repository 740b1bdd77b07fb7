//! `report` from end to end: what is on the page, that it stands alone, and what it says of folders
//! that it cannot use.

use std::collections::BTreeSet;
use std::path::Path;

use image::RgbImage;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::workplace::{Workplace, assert_refused, assert_success, read, read_csv, stderr};

fn report(place: &Workplace, runs: &str) -> std::process::Output {
    place.run(&["report", "--runs", runs, "--output", "pages/report.html"])
}

/// The page, as it is written.
fn page(place: &Workplace) -> String {
    String::from_utf8(read(&place.path("pages/report.html"))).unwrap()
}

/// Elements that have no end.
const VOID: [&str; 3] = ["meta", "img", "link"];

/// What the page consists of.
#[derive(Default)]
struct Parsed {
    elements: Vec<String>,
    ids: BTreeSet<String>,
    /// Where links and pictures lead.
    targets: Vec<String>,
    text: String,
}

impl Parsed {
    /// Checks that every element is closed, in order.
    fn of(html: &str) -> Self {
        let mut reader = Reader::from_str(html);
        reader.config_mut().check_end_names = false;
        let (mut parsed, mut open) = (Self::default(), Vec::new());
        loop {
            match reader.read_event().unwrap() {
                Event::Start(tag) => {
                    let name = parsed.element(&tag);
                    if !VOID.contains(&name.as_str()) {
                        open.push(name);
                    }
                }
                Event::Empty(tag) => drop(parsed.element(&tag)),
                Event::End(tag) => {
                    let name = tag.name().as_ref().to_owned();
                    assert_eq!(open.pop(), Some(name), "closed at {}", reader.buffer_position());
                }
                Event::Eof => break,
                Event::Text(text) => parsed.text += &text,
                // Escaped characters.
                Event::GeneralRef(of) => {
                    parsed.text += match &*of {
                        "lt" => "<",
                        "gt" => ">",
                        "amp" => "&",
                        "quot" => "\"",
                        "#x2f" => "/",
                        other => panic!("{other}"),
                    };
                }
                _ => {}
            }
        }
        assert_eq!(open, Vec::<String>::new());
        parsed
    }

    fn element(&mut self, tag: &BytesStart<'_>) -> String {
        for attribute in tag.attributes() {
            let attribute = attribute.unwrap();
            let value = attribute.value.into_owned();
            match attribute.key.as_ref() {
                "id" => assert!(self.ids.insert(value.clone()), "{value} twice"),
                "href" | "src" => self.targets.push(value),
                _ => {}
            }
        }
        let name = tag.name().as_ref().to_owned();
        self.elements.push(name.clone());
        name
    }

    fn count(&self, element: &str) -> usize {
        self.elements.iter().filter(|name| *name == element).count()
    }

    /// Everything that is linked is on the page, and nothing runs.
    fn assert_stands_alone(&self) {
        for target in &self.targets {
            let is_here = target.strip_prefix('#').is_some_and(|id| self.ids.contains(id));
            assert!(is_here || target.starts_with("data:image/jpeg;base64,"), "{target}");
        }
        assert_eq!(self.count("script") + self.count("link") + self.count("iframe"), 0);
    }
}

/// The page without the time at which it was made.
fn timeless(html: &str) -> String {
    html.lines().filter(|line| !line.contains("<time>")).collect()
}

fn evaluate(place: &Workplace, run: &str, more: &[&str]) {
    let checkpoint = format!("{run}/checkpoints/last.safetensors");
    let output = format!("{run}/evaluation");
    let arguments = ["evaluate", "--checkpoint", &checkpoint, "--output", &output];
    assert_success(&place.run(&[&arguments, more].concat()));
}

#[test]
fn the_page_holds_runs_tables_curves_and_pictures_and_stands_alone() {
    let place = Workplace::new();
    let plain = ["train.epochs=1", "sib.enabled=false"];
    assert_success(&place.train("runs/plain", &plain));
    let sib = ["train.epochs=1", "train.log_gradient_norms=2", "train.log_information=true"];
    assert_success(&place.train("runs/sib", &sib));
    for run in ["runs/plain", "runs/sib"] {
        let suites = "accuracy,localization,faithfulness,information";
        let methods = ["--method", "saliency,s-ib-map", "--set", "faithfulness.step_px=256"];
        evaluate(
            &place,
            run,
            &[&["--data", "synthetic", "--suite", suites], &methods[..]].concat(),
        );
    }
    std::fs::create_dir(place.path("photos")).unwrap();
    RgbImage::from_pixel(40, 40, image::Rgb([9, 90, 200]))
        .save(place.path("photos/a.png"))
        .unwrap();
    let explain = ["explain", "--checkpoint", "runs/sib/checkpoints/last.safetensors", "--image"];
    let maps = ["photos", "--output", "runs/maps", "--method", "saliency"];
    assert_success(&place.run(&[&explain[..], &maps].concat()));

    assert_success(&report(&place, "runs"));
    let html = page(&place);
    let parsed = Parsed::of(&html);
    parsed.assert_stands_alone();
    for expected in [
        "plain/evaluation",
        "sib/evaluation",
        "sib.enabled",
        "Table 2: Accuracy",
        "Table 3: Information differential",
        "Table 4: Localization",
        "Table 5: Faithfulness",
        "Baseline, test",
        "Baseline, insertion",
        "Gradient norms",
        "Regions of image and R: CKA",
        "Object found worst by S-IB map",
        "of 20.",
        "Heatmaps of 1 image by Saliency.",
        "checkpoint_every_minutes = 10.0",
    ] {
        assert!(parsed.text.contains(expected), "{expected}");
    }
    // Loss, two accuracies, four terms, gradients, three measures; one a method; two an evaluation.
    assert_eq!(parsed.count("svg"), 11 + 2 + 2 * 2);
    // Of each evaluation right, worst and best predictions and maps; one sheet.
    assert!((2 * 18..=2 * 24 + 1).contains(&parsed.count("img")), "{}", parsed.count("img"));
    assert!(html.contains("prefers-color-scheme: dark") && html.contains("@media print"));

    assert_success(&report(&place, "runs"));
    assert_eq!(timeless(&page(&place)), timeless(&html));

    std::fs::remove_file(place.path("runs/sib/status.toml")).unwrap();
    std::fs::remove_file(place.path("runs/sib/evaluation/summary.csv")).unwrap();
    assert_success(&report(&place, "runs"));
    let parsed = Parsed::of(&page(&place));
    assert!(parsed.text.contains("Unfinished runs") && parsed.text.contains("unfinished"));
    assert!(parsed.text.contains("Unfinished evaluations, left out"));
    assert_eq!(parsed.count("svg"), 11 + 2);
}

#[test]
fn names_with_marks_of_html_are_text() {
    let place = Workplace::new();
    let class = "<b>&\"x";
    for split in ["train", "test"] {
        for class in [class, "other"] {
            let folder = place.path("images").join(split).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            for i in 0..4 {
                let colour = image::Rgb([60 * i, 200, 30]);
                RgbImage::from_pixel(36, 36, colour).save(folder.join(format!("{i}.png"))).unwrap();
            }
        }
    }
    let run = "runs/<i>&\"";
    let settings = ["train.epochs=1", "data.name=folder", "data.root=images"];
    assert_success(&place.train(run, &settings));
    let data = ["--data", "folder", "--root", "images", "--suite", "accuracy"];
    evaluate(&place, run, &data);

    assert_success(&report(&place, "runs"));
    let parsed = Parsed::of(&page(&place));
    parsed.assert_stands_alone();
    assert!(parsed.text.contains(class) && parsed.text.contains("<i>&\""));
    assert_eq!(parsed.count("b") + parsed.count("i"), 0);
    // With the images gone, their ids and the classes by number are left.
    std::fs::rename(place.path("images"), place.path("elsewhere")).unwrap();
    std::fs::remove_dir_all(place.path(run).join("checkpoints")).unwrap();
    assert_success(&report(&place, "runs"));
    let parsed = Parsed::of(&page(&place));
    assert_eq!(parsed.count("img"), 0);
    assert!(parsed.text.contains("Without photographs: ") && parsed.text.contains("class 1"));
}

#[test]
fn a_table_does_not_join_what_was_measured_in_different_ways() {
    let place = Workplace::new();
    let baseline = ["train.epochs=1", "sib.enabled=false"];
    assert_success(&place.train("runs/plain", &baseline));
    assert_success(&place.train("runs/sib", &["train.epochs=1"]));
    let base = ["--data", "synthetic", "--suite"];
    let of_r = ["--set", "s-ib-map.mask.quantile=0.5"];
    for (number, suite, differs) in [
        ("2", "accuracy", &["--precision", "bf16"][..]),
        ("2", "accuracy", &["--limit", "9"]),
        ("3", "information", &of_r),
    ] {
        let _ = std::fs::remove_dir_all(place.path("runs/plain/evaluation"));
        let _ = std::fs::remove_dir_all(place.path("runs/sib/evaluation"));
        evaluate(&place, "runs/plain", &[&base[..], &[suite]].concat());
        evaluate(&place, "runs/sib", &[&base[..], &[suite], differs].concat());
        let table = ["table", number, "--runs", "runs", "--output", "table.csv"];
        let output = place.run(&table);
        assert_refused(&output, 1, "measured with different settings, ");
        // The key that differs with both values, never a Rust debug dump.
        assert!(stderr(&output).contains(" against "), "{}", stderr(&output));
        assert!(!stderr(&output).contains('{'), "{}", stderr(&output));
        assert!(!place.path("table.csv").exists());
    }
}

#[test]
fn a_folder_without_runs_and_damaged_files_are_refused_and_no_page_is_left() {
    let place = Workplace::new();
    let refused = |runs: &str, expected: &str| {
        assert_refused(&report(&place, runs), 1, expected);
        assert!(!place.path("pages").exists(), "{runs}");
    };
    std::fs::create_dir(place.path("empty")).unwrap();
    refused("empty", "empty: no run and no finished evaluation here");
    refused("nowhere", "nowhere: cannot read");

    assert_success(&place.train("runs/sib", &["train.epochs=1"]));
    let damage = |file: &str, line: usize, with: &str| {
        let path: &Path = &place.path("runs/sib").join(file);
        let whole = String::from_utf8(read(path)).unwrap();
        let mut lines: Vec<&str> = whole.lines().collect();
        lines[line - 1] = with;
        std::fs::write(path, lines.join("\n") + "\n").unwrap();
        whole
    };
    let whole = damage("metrics.csv", 4, "1,0,train,loss,much");
    refused("runs", "runs/sib/metrics.csv: line 4: ");
    // The end of a line that is just being written is none.
    std::fs::write(place.path("runs/sib/metrics.csv"), whole + "6,1,tr").unwrap();
    assert_success(&report(&place, "runs"));
    std::fs::remove_dir_all(place.path("pages")).unwrap();
    damage("config.toml", 2, "arch = ");
    refused("runs", "runs/sib/config.toml: line 2: ");
}

#[test]
fn what_cannot_be_read_is_named_and_the_others_are_joined() {
    let place = Workplace::new();
    for (run, training) in [("runs/plain", "sib.enabled=false"), ("runs/sib", "sib.enabled=true")] {
        assert_success(&place.train(run, &["train.epochs=1", training]));
        evaluate(&place, run, &["--data", "synthetic", "--suite", "accuracy"]);
    }
    // Linked, of another version, and damaged.
    std::fs::create_dir(place.path("kept")).unwrap();
    for run in ["plain", "sib"] {
        let target = place.path("runs").join(run);
        std::os::unix::fs::symlink(target, place.path("kept").join(run)).unwrap();
    }
    let copy = |name: &str, file: &str, change: &dyn Fn(&str) -> String| {
        let folder = place.path("kept").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for file in ["evaluation.toml", "per_image.csv", "summary.csv"] {
            let from = place.path("runs/sib/evaluation").join(file);
            std::fs::copy(from, folder.join(file)).unwrap();
        }
        let text = String::from_utf8(read(&folder.join(file))).unwrap();
        std::fs::write(folder.join(file), change(&text)).unwrap();
    };
    copy("newer", "evaluation.toml", &|text| text.replace("[settings]", "[settings]\nmood = 1"));
    copy("damaged", "summary.csv", &|text| text.replacen("accuracy", "accuracy,accuracy", 1));

    let table = ["table", "2", "--runs", "kept", "--output", "table.csv"];
    let output = place.run(&table);
    assert_refused(&output, 1, "without what cannot be read: kept/damaged/summary.csv: line 2");
    assert!(stderr(&output).contains("kept/newer/evaluation.toml: not of this version"));
    let rows = read_csv(&place.path("table.csv"));
    let top1 = rows.iter().find(|row| row["metric"] == "top1").unwrap();
    assert!(!top1["baseline"].is_empty() && !top1["s_ib"].is_empty(), "{top1:?}");

    let output = report(&place, "kept");
    assert_refused(&output, 1, "without what cannot be read: ");
    let parsed = Parsed::of(&page(&place));
    for text in ["Cannot be read, left out", "kept/newer/evaluation.toml", "top-1"] {
        assert!(parsed.text.contains(text), "{text}");
    }
}

#[test]
fn different_lengths_of_training_are_said_in_tables_and_figures() {
    let place = Workplace::new();
    let log = "train.log_information=true";
    for (run, settings) in [
        ("runs/plain", ["train.epochs=1", "sib.enabled=false", log]),
        ("runs/sib", ["train.epochs=2", "sib.enabled=true", log]),
    ] {
        assert_success(&place.train(run, &settings));
        evaluate(&place, run, &["--data", "synthetic", "--suite", "accuracy,information"]);
    }
    let said = "trained for different lengths: Baseline for 1 epoch, S-IB for 2 epochs";
    for number in ["2", "3"] {
        let table = ["table", number, "--runs", "runs", "--output", "table.csv"];
        let output = place.run(&table);
        assert_success(&output);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(said), "{text}");
        let rows = read_csv(&place.path("table.csv"));
        assert!(rows.iter().all(|row| row["note"].contains(said)), "{rows:?}");
    }
    for number in ["1a", "5"] {
        let figure = ["figure", number, "--runs", "runs", "--output", "f.svg", "--output", "f.png"];
        assert_success(&place.run(&figure));
        let svg = String::from_utf8(read(&place.path("f.svg"))).unwrap();
        assert!(svg.contains("different lengths"), "{number}");
        assert!(place.path("f.png").is_file());
    }
}
