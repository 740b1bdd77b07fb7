//! `figure` from end to end: what it draws from runs, evaluations and heatmaps, and what it says where there
//! is nothing to draw.

use image::{Rgb, RgbImage};
use quick_xml::events::Event;

use crate::workplace::{Workplace, assert_refused, assert_success, read, read_csv, stderr};

/// The texts of an SVG file, each with its parts joined.
fn texts(place: &Workplace, file: &str) -> Vec<String> {
    let svg = String::from_utf8(read(&place.path(file))).unwrap();
    let mut reader = quick_xml::Reader::from_str(&svg);
    let mut texts = Vec::new();
    let mut inside = false;
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{file}: {error}")) {
            Event::Eof => return texts,
            Event::Start(element) if element.name().0 == "text" => {
                inside = true;
                texts.push(String::new());
            }
            Event::End(element) if element.name().0 == "text" => inside = false,
            Event::Text(text) if inside => texts.last_mut().unwrap().push_str(&text),
            _ => {}
        }
    }
}

/// Draws the figure as SVG and PNG; the texts in it.
#[track_caller]
fn draw(place: &Workplace, number: &str, more: &[&str]) -> Vec<String> {
    for ending in ["svg", "png"] {
        let output = format!("out/figure.{ending}");
        let arguments = ["figure", number, "--runs", "runs", "--output", &output];
        assert_success(&place.run(&[&arguments, more].concat()));
    }
    let png = image::open(place.path("out/figure.png")).unwrap().to_rgb8();
    // 85 to 175 mm at 300 dpi.
    assert!((1004..=2067).contains(&png.width()), "{}", png.width());
    assert!(png.pixels().any(|pixel| pixel.0 != [255; 3]));
    texts(place, "out/figure.svg")
}

#[track_caller]
fn assert_has(texts: &[String], expected: &[&str]) {
    for text in expected {
        assert!(texts.iter().any(|found| found == text), "no {text:?} in {texts:#?}");
    }
}

#[test]
fn information_is_drawn_from_runs_and_evaluations() {
    let place = Workplace::new();
    let settings = ["train.epochs=2", "train.log_information=true"];
    for (run, more) in [("sib", "train.seed=1"), ("baseline", "sib.enabled=false")] {
        let run = format!("runs/{run}");
        assert_success(&place.train(&run, &[&settings[..], &[more]].concat()));
        let checkpoint = format!("{run}/checkpoints/last.safetensors");
        let evaluation = format!("{run}/evaluation");
        assert_success(&place.run(&[
            "evaluate",
            "--checkpoint",
            &checkpoint,
            "--data",
            "synthetic",
            "--suite",
            "information",
            "--batch-size",
            "4",
            "--output",
            &evaluation,
        ]));
    }
    let curves = draw(&place, "1a", &[]);
    let labels = ["synthetic, ResNet-18", "Epoch", "Information (HSIC)"];
    let lines = ["I(Xfg; Rfg), Baseline", "I(Xbg; Rbg), S-IB"];
    assert_has(&curves, &[&labels[..], &lines].concat());
    assert!(curves.iter().any(|text| text.contains("batches of 8 images")), "{curves:?}");
    let bars = draw(&place, "5", &["--estimator", "renyi"]);
    assert_has(&bars, &["I(Xfg; Rbg)", "I(Xbg; Rbg)", "Information (bits)", "Baseline", "S-IB"]);
    assert!(bars.iter().any(|text| text.contains("batches of 4 images")), "{bars:?}");

    // Less what random pairs give; the same of the runs' logs.
    for (number, unit) in [("1a", "CKA"), ("5", "CKA")] {
        let above = draw(&place, number, &["--estimator", "cka", "--above-random"]);
        assert_has(&above, &[&format!("Information above random pairs ({unit})")]);
        assert!(above.join(" ").contains("Less the mean for random pairs"), "{above:?}");
        assert!(above.iter().all(|text| !text.contains("Dashed")), "{above:?}");
    }
    let log = read_csv(&place.path("runs/sib/metrics.csv"));
    let logged = |name: &str| log.iter().filter(|row| row["name"] == name).count();
    assert_eq!((logged("cka_x_fg_r_fg"), logged("cka_x_fg_r_fg_null")), (2, 2));

    // A second run of the same network and seed.
    let copy = place.path("runs/again");
    std::fs::create_dir(&copy).unwrap();
    for file in ["config.toml", "environment.toml", "metrics.csv"] {
        std::fs::copy(place.path("runs/sib").join(file), copy.join(file)).unwrap();
    }
    let arguments = ["figure", "1a", "--runs", "runs", "--output", "out/figure.svg"];
    let output = place.run(&arguments);
    assert_success(&output);
    assert!(stderr(&output).contains("runs/again: not finished, left out"), "{}", stderr(&output));
    std::fs::copy(place.path("runs/sib/status.toml"), copy.join("status.toml")).unwrap();
    assert_refused(&place.run(&arguments), 1, "runs/again and runs/sib: both of s-ib");
    // A line of its log that is damaged, not only unfinished.
    let log = std::fs::read_to_string(copy.join("metrics.csv")).unwrap();
    std::fs::write(copy.join("metrics.csv"), log.replacen("train", "train,", 1)).unwrap();
    assert_refused(&place.run(&arguments), 1, "runs/again/metrics.csv: line 2: 6 fields");
}

/// Three images in `photos`: a red square on grey.
fn photos(place: &Workplace) {
    std::fs::create_dir(place.path("photos")).unwrap();
    for (name, width, height) in [("a.png", 48, 40), ("b.png", 97, 61), ("c.png", 32, 64)] {
        let image = RgbImage::from_fn(width, height, |x, y| {
            let inside = (10..25).contains(&x) && (10..25).contains(&y);
            Rgb(if inside { [220, 40, 40] } else { [(2 * x) as u8; 3] })
        });
        image.save(place.path("photos").join(name)).unwrap();
    }
}

/// Pictures in the SVG file.
fn pictures(place: &Workplace) -> usize {
    let svg = String::from_utf8(read(&place.path("out/figure.svg"))).unwrap();
    svg.matches("<image ").count()
}

#[test]
fn heatmaps_are_drawn_from_a_comparison() {
    let place = Workplace::with_checkpoint();
    photos(&place);
    let baseline = ["train.epochs=1", "train.seed=5", "sib.enabled=false"];
    assert_success(&place.train("runs/baseline", &baseline));
    let explain = |output: &str| {
        let compare = "runs/baseline/checkpoints/last.safetensors";
        let checkpoint = ["explain", "--checkpoint", "net.safetensors", "--compare", compare];
        let images = ["--image", "photos", "--output", output];
        let methods = ["--method", "saliency,guided-backprop,grad-cam"];
        assert_success(&place.run(&[&checkpoint[..], &images, &methods].concat()));
    };
    explain("runs/heatmaps");

    let texts = draw(&place, "3", &[]);
    assert_has(&texts, &["Input", "Baseline", "S-IB", "Difference", "0", "least", "most"]);
    assert!(texts.iter().any(|text| text.starts_with("Guided Backprop, ResNet-18; ")), "{texts:?}");
    // Four rows of three images, and two colour bars.
    assert_eq!(pictures(&place), 4 * 3 + 2);
    let png = image::open(place.path("out/figure.png")).unwrap().to_rgb8();
    // Of 28 mm each.
    assert!((1004..1200).contains(&png.width()), "{}", png.width());
    let red = png.pixels().filter(|pixel| pixel.0 == [220, 40, 40]).count();
    assert!(red > 5_000, "{red} pixels of the photographs");

    // What is below it is for the caption.
    let alone = draw(&place, "3", &["--no-note"]);
    assert!(alone.iter().all(|text| !text.starts_with("Guided Backprop")), "{alone:?}");
    let caption = String::from_utf8(read(&place.path("out/figure.txt"))).unwrap();
    assert!(caption.starts_with("Guided Backprop, ResNet-18; "), "{caption}");

    let texts = draw(&place, "4", &["--images", "2"]);
    assert_has(&texts, &["Input", "Saliency", "GradCAM", "Baseline", "S-IB"]);
    // Of two images: the input and three methods before and after; a colour bar.
    assert_eq!(pictures(&place), 2 * (1 + 2 * 3) + 1);
    let texts = draw(&place, "1b", &["--images", "c.png,a", "--method", "grad-cam"]);
    assert!(texts.contains(&"GradCAM".to_owned()) && !texts.contains(&"Saliency".to_owned()));
    assert_eq!(pictures(&place), 2 * (1 + 2) + 1);

    let refused = |more: &[&str], code: i32, expected: &str| {
        let arguments = ["figure", "3", "--runs", "runs", "--output", "refused.svg"];
        assert_refused(&place.run(&[&arguments, more].concat()), code, expected);
    };
    refused(&["--images", "d"], 2, "--images: runs/heatmaps has no heatmaps of d");
    refused(&["--images", "0"], 2, "at least 1 image");
    refused(&["--method", "saliency,grad-cam"], 2, "--method: figure 3 shows one method");
    refused(&["--method", "score-cam"], 1, "runs/heatmaps: no heatmaps by score-cam, only by sal");
    refused(&["--estimator", "cka"], 2, "--estimator, --above-random: only figures 1a and 5");
    std::fs::rename(place.path("photos/b.png"), place.path("photos/gone.png")).unwrap();
    refused(&[], 1, "photos/b.png: cannot read");
    std::fs::rename(place.path("photos/gone.png"), place.path("photos/b.png")).unwrap();
    explain("runs/more/heatmaps");
    refused(&[], 1, "runs/heatmaps and runs/more/heatmaps: both hold heatmaps with a baseline");
}

#[test]
fn where_there_is_nothing_to_draw_it_says_what_is_missing() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("runs")).unwrap();
    let figure = |number: &str, more: &[&str]| {
        let arguments = ["figure", number, "--runs", "runs", "--output", "out.svg"];
        let output = place.run(&[&arguments, more].concat());
        assert!(!place.path("out.svg").exists());
        output
    };
    for (number, error, hint) in [
        ("1a", "no finished run has logged its information", "train.log_information=true"),
        ("3", "no finished heatmaps with a baseline", "sib-cli explain"),
        ("5", "no finished evaluation has suite information", "--suite information"),
    ] {
        let output = figure(number, &[]);
        assert_refused(&output, 1, error);
        assert!(stderr(&output).contains("hint: ") && stderr(&output).contains(hint));
    }
    let refused = place.run(&["figure", "1a", "--runs", "runs", "--output", "out.pdf"]);
    assert_refused(&refused, 2, "--output out.pdf: expected a file that ends in .png or .svg");
    assert_refused(&figure("5", &["--images", "2"]), 2, "--images, --method: only figures 1b");
    assert_refused(
        &place.run(&["figure", "1a", "--runs", "nowhere", "--output", "out.svg"]),
        1,
        "nowhere: cannot read",
    );
}
