//! Every call of a command to the file system goes wrong in turn: it fails, the disk is full, the process is killed, the
//! power goes. No file is half then, the error says where, and the same command ends with the same bytes.
//!
//! A few faults a command are tried; `SIB_FAULTS=all cargo test --test cli faults -- --test-threads 1 --nocapture` tries
//! all, which takes hours, and `SIB_FAULTS=power:17` one. Then each is killed at random moments, and again while it is
//! repeated: once, or `SIB_KILLS` times; three processes do the same at once; and the clock goes wild.

mod shim;
mod tree;
mod trial;

use std::sync::OnceLock;

use trial::{Case, Place};

/// Tiny: ResNet-18 at 32 px, 10 images, an update an epoch.
const CONFIG: &str = r#"
[model]
arch = "resnet18"
[data]
name = "synthetic"
[data.preprocessing]
resize_px = 32
crop_px = 32
[data.synthetic]
side_px = 32
train_images = 10
test_images = 10
[train]
epochs = 2
batch_size = 10
[sib]
"#;

const TRAIN: [&str; 5] = ["train", "--config", "../inputs/tiny.toml", "--output", "run"];

/// With `inputs/tiny.toml`.
fn place() -> Place {
    let place = Place::new();
    place.write("inputs/tiny.toml", CONFIG);
    place
}

/// With `inputs/net.safetensors` and its run `inputs/run` too.
fn place_with_run() -> Place {
    // What a run makes; trained once a test process.
    const FILES: [&str; 5] = [
        "net.safetensors",
        "run/config.toml",
        "run/environment.toml",
        "run/metrics.csv",
        "run/status.toml",
    ];
    static RUN: OnceLock<[Vec<u8>; FILES.len()]> = OnceLock::new();
    let run = RUN.get_or_init(|| {
        let place = place();
        let train = [
            "train",
            "--config",
            "tiny.toml",
            "--output",
            "run",
            "--set",
            "train.log_information=true",
        ];
        place.prepare("inputs", &train);
        let [last, net] = ["run/checkpoints/last.safetensors", FILES[0]]
            .map(|it| place.folder("inputs").join(it));
        std::fs::rename(last, net).unwrap();
        FILES.map(|file| std::fs::read(place.folder("inputs").join(file)).unwrap())
    });
    let place = place();
    FILES
        .iter()
        .zip(run)
        .for_each(|(file, content)| place.write(&format!("inputs/{file}"), content));
    place
}

/// With two pictures in `inputs/photos`, as PPM.
fn write_photos(place: &Place) {
    for (name, red) in [("a", 200u8), ("b", 30)] {
        let pixels =
            (0..40 * 36u32).flat_map(|i| [red, (6 * (i % 40)) as u8, (7 * (i / 40)) as u8]);
        let header = b"P6 40 36 255\n".to_vec();
        place.write(
            &format!("inputs/photos/{name}.ppm"),
            header.into_iter().chain(pixels).collect::<Vec<_>>(),
        );
    }
}

/// With an evaluation beside the run.
fn place_with_results() -> Place {
    let place = place_with_run();
    place.prepare("inputs", &evaluation("net.safetensors", "run/evaluation"));
    place
}

/// Of a few images.
fn evaluation<'a>(checkpoint: &'a str, output: &'a str) -> Vec<&'a str> {
    let of = ["evaluate", "--checkpoint", checkpoint, "--data", "synthetic", "--output", output];
    let few = ["--suite", "accuracy,information", "--limit", "8", "--batch-size", "4"];
    [&of[..], &few].concat()
}

#[test]
fn train() {
    let mut case = Case::new(&TRAIN);
    case.again = |folder, command| {
        let is_begun = folder.join("run/config.toml").is_file();
        if is_begun { vec!["train", "--resume", "run"] } else { command.into() }
    };
    place().try_all(&case);
}

/// A run that only its `status.toml` lacks.
#[test]
fn train_to_its_status() {
    let place = place();
    place.prepare("before", &TRAIN);
    std::fs::remove_file(place.folder("before/run/status.toml")).unwrap();
    place.try_all(&Case::new(&["train", "--resume", "run"]));
}

#[test]
fn train_extended() {
    let place = place();
    place.prepare("before", &[&TRAIN[..], &["--set", "train.epochs=1"]].concat());
    place.try_all(&Case::new(&["train", "--resume", "run", "--set", "train.epochs=2"]));
}

#[test]
fn evaluate() {
    let of = [
        "evaluate",
        "--checkpoint",
        "../inputs/net.safetensors",
        "--data",
        "synthetic",
        "--output",
        "e",
    ];
    let suites = ["--suite", "accuracy,faithfulness,information", "--method", "saliency"];
    let few = ["--limit", "4", "--batch-size", "2", "--set", "faithfulness.step_px=512"];
    place_with_run().try_all(&Case::new(&[&of[..], &suites, &few].concat()));
}

const EXPLAIN: [&str; 7] = [
    "explain",
    "--checkpoint",
    "../inputs/net.safetensors",
    "--image",
    "../inputs/photos",
    "--output",
    "maps",
];

#[test]
fn explain() {
    let place = place_with_run();
    write_photos(&place);
    place.try_all(&Case::with_overwrite(
        &[&EXPLAIN[..], &["--method", "saliency,grad-cam"]].concat(),
    ));
}

#[test]
fn explain_in_place_of_another() {
    let place = place_with_run();
    write_photos(&place);
    place.prepare("before", &[&EXPLAIN[..], &["--method", "saliency"]].concat());
    let mut case = Case::new(&[&EXPLAIN[..], &["--method", "grad-cam", "--overwrite"]].concat());
    case.again = |_, command| command.into();
    place.try_all(&case);
}

#[test]
fn import() {
    let import = [
        "import",
        "../inputs/net.safetensors",
        "--arch",
        "resnet18",
        "--output",
        "net.safetensors",
    ];
    place_with_run().try_all(&Case::with_overwrite(&import));
}

#[test]
fn table() {
    let place = place_with_results();
    place.write("before/out/table.md", "former");
    let table = ["table", "3", "--runs", "../inputs", "--output", "out/table.csv"];
    let more = ["--markdown", "out/table.md", "--latex", "out/new/table.tex"];
    place.try_all(&Case::new(&[&table[..], &more].concat()));
}

#[test]
fn figure() {
    let place = place_with_results();
    place.write("before/figure.svg", "former");
    let figure = [
        "figure",
        "1a",
        "--runs",
        "../inputs",
        "--output",
        "figure.svg",
        "--output",
        "figure.png",
        "--no-note",
    ];
    place.try_all(&Case::new(&figure));
}

#[test]
fn report() {
    let place = place_with_results();
    place.write("before/report.html", "former");
    place.try_all(&Case::new(&["report", "--runs", "../inputs", "--output", "report.html"]));
}

#[test]
fn compare() {
    let place = place_with_results();
    let [net, other] =
        ["inputs/net.safetensors", "inputs/other.safetensors"].map(|it| place.folder(it));
    std::fs::copy(net, other).unwrap();
    place.prepare("inputs", &evaluation("other.safetensors", "other"));
    let of = ["compare", "--runs", "../inputs", "--baseline", "net"];
    let files = ["--output", "out/a.csv", "--markdown", "out/a.md", "--latex", "out/a.tex"];
    place.try_all(&Case::new(&[&of[..], &files].concat()));
}

#[test]
fn predict() {
    let place = place_with_run();
    write_photos(&place);
    place.write("before/classes.csv", "former");
    let predict =
        ["predict", "--checkpoint", "../inputs/net.safetensors", "--image", "../inputs/photos"];
    place.try_all(&Case::new(&[&predict[..], &["--output", "classes.csv"]].concat()));
}

#[test]
fn init() {
    let place = place_with_run();
    write_photos(&place);
    for (split, class) in [("train", "x"), ("train", "y"), ("test", "x"), ("test", "y")] {
        let to = place.folder("inputs/images").join(split).join(class);
        std::fs::create_dir_all(&to).unwrap();
        std::fs::copy(place.folder("inputs/photos/a.ppm"), to.join("a.ppm")).unwrap();
    }
    place.try_all(&Case::with_overwrite(&[
        "init",
        "--data",
        "../inputs/images",
        "--output",
        "images.toml",
    ]));
}

#[test]
fn data_export() {
    let export = ["data", "export", "--data", "synthetic", "--limit", "2", "--output", "images"];
    place().try_all(&Case::new(&export));
}

#[test]
fn man() {
    place().try_all(&Case::new(&["man", "--output", "pages"]));
}

#[test]
fn reproduce() {
    if std::env::var_os(trial::WANTED).is_none() {
        eprintln!("skipped: minutes a fault; {} is not set", trial::WANTED);
        return;
    }
    let place = place();
    let tiny = "extend = '../../tiny.toml'\n[train]\nepochs = 1\n";
    let plain = "[sib]\nenabled = false\n";
    place.write("inputs/configs/demo/warmup.toml", format!("{tiny}{plain}"));
    place.write("inputs/configs/demo/baseline.toml", format!("{tiny}{plain}"));
    place.write("inputs/configs/demo/sib.toml", tiny);
    let mut case = Case::new(&[
        "reproduce",
        "--configs",
        "../inputs/configs",
        "--output",
        "runs",
        "--table",
        "2",
    ]);
    case.has_steps = true;
    place.try_all(&case);
}
