//! `train` from end to end on the built-in data: what it logs, how it goes on after a kill, and what
//! it says of bad input.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Tiny: ResNet-18 at 32 px, 40 images, 5 steps an epoch.
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
train_images = 40
test_images = 20
[train]
epochs = 3
batch_size = 8
# So often that there is always one to go on from.
checkpoint_every_minutes = 0.0001
[sib]
"#;

struct Workplace {
    folder: tempfile::TempDir,
}

impl Workplace {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tiny.toml"), CONFIG).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sib-cli"));
        // One thread: sums in libtorch depend on how they are split between threads.
        command.current_dir(self.folder.path()).args(arguments).env("OMP_NUM_THREADS", "1");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn train(&self, run: &str, settings: &[&str]) -> Output {
        let mut arguments = vec!["train", "--config", "tiny.toml", "--output", run];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        self.run(&arguments)
    }
}

#[track_caller]
fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn assert_refused(output: &Output, code: i32, expected: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(expected), "expected {expected:?} in:\n{stderr}");
    assert_eq!(stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{stderr}");
    assert_eq!(output.status.code(), Some(code), "{stderr}");
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_log_holds_every_term_of_every_step() {
    let place = Workplace::new();
    assert_success(&place.train(
        "run",
        &["train.epochs=1", "train.log_gradient_norms=2", "train.log_information=true"],
    ));
    let log = String::from_utf8(read(&place.path("run/metrics.csv"))).unwrap();
    for name in [
        "loss",
        "cross_entropy",
        "foreground",
        "background",
        "hsic",
        "vjp_norm",
        "mask_mean",
        "learning_rate",
    ] {
        let values: Vec<f64> = log
            .lines()
            .filter_map(|line| line.split_once(&format!(",train,{name},"))?.1.parse().ok())
            .collect();
        assert_eq!(values.len(), 5, "{name}");
        assert!(values.iter().all(|value| value.is_finite()), "{name}: {values:?}");
    }
    assert_eq!(log.matches("gradient_norm_background").count(), 3);
    // Two regions of the image, two of R, three measures.
    assert_eq!(log.matches(",test,").count(), 2 + 2 * 2 * 3);
    for file in ["config.toml", "environment.toml", "status.toml", "checkpoints/best.safetensors"] {
        assert!(place.path("run").join(file).is_file(), "{file}");
    }
}

#[test]
fn a_run_repeats_from_its_own_folder() {
    let place = Workplace::new();
    let settings = ["train.epochs=1", "sib.every=2", "train.seed=7"];
    assert_success(&place.train("first", &settings));
    let again = ["train", "--config", "first/config.toml", "--output", "second"];
    assert_success(&place.run(&again));
    for file in ["metrics.csv", "config.toml", "checkpoints/last.safetensors"] {
        assert!(
            read(&place.path("first").join(file)) == read(&place.path("second").join(file)),
            "{file}"
        );
    }
}

#[test]
fn a_killed_run_goes_on_bit_for_bit() {
    let place = Workplace::new();
    assert_success(&place.train("through", &[]));
    let last = place.path("killed/checkpoints/last.safetensors");
    let arguments = ["train", "--config", "tiny.toml", "--output", "killed"];
    let mut child = place.command(&arguments).stderr(Stdio::null()).spawn().unwrap();
    for kill in 0..3 {
        // Each time somewhat later after there is something to go on from.
        let patience = Instant::now();
        while !last.exists() && patience.elapsed() < Duration::from_secs(120) {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(60 + 170 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
        let resume = ["train", "--resume", "killed"];
        child = place.command(&resume).stderr(Stdio::null()).spawn().unwrap();
    }
    assert!(child.wait().unwrap().success());
    for file in ["metrics.csv", "checkpoints/last.safetensors", "checkpoints/best.safetensors"] {
        assert!(
            read(&place.path("through").join(file)) == read(&place.path("killed").join(file)),
            "{file}"
        );
    }
}

#[test]
fn bad_input_is_refused_in_one_line_before_a_run_folder_is_made() {
    let place = Workplace::new();
    let refused: [(&[&str], i32, &str); 8] = [
        (&["train.epoch=1"], 2, "unknown field `epoch`"),
        (&["train.batch_size=1"], 2, "train.batch_size: got 1, expected at least 2"),
        (&["train.batch_size=41"], 2, "batch_size: got 41, expected at most the 40 images"),
        (&["sib.mask.window_px=4"], 2, "sib.mask.window_px: got 4, expected an odd number"),
        (&["data.name=pets", "data.root=nowhere"], 1, "nowhere: "),
        (&["data.name=pets"], 2, "data.root: not set"),
        (&["model.weights=nowhere.pth"], 1, "nowhere.pth: cannot read"),
        (&["model.arch=resnet19"], 2, "one of resnet18, resnet50, densenet121, vit_b_32"),
    ];
    for (settings, code, expected) in refused {
        assert_refused(&place.train("run", settings), code, expected);
        assert!(!place.path("run").exists(), "{settings:?}");
    }
    let cuda = ["train", "--config", "tiny.toml", "--output", "run", "--device", "cuda:99"];
    assert_refused(&place.run(&cuda), 2, "device cuda:99 is not available: ");
    assert_refused(&place.run(&["train", "--config", "none.toml"]), 2, "none.toml: cannot read");
    assert_refused(&place.run(&["train", "--resume", "."]), 2, "config.toml: cannot read");
}

#[test]
fn a_folder_that_holds_a_run_is_left_alone() {
    let place = Workplace::new();
    std::fs::create_dir_all(place.path("run")).unwrap();
    std::fs::write(place.path("run/notes.txt"), "precious").unwrap();
    let output = place.train("run", &[]);
    assert_refused(&output, 1, "the run folder is not empty");
    assert!(String::from_utf8_lossy(&output.stderr).contains("hint: "));
    assert_eq!(std::fs::read_dir(place.path("run")).unwrap().count(), 1);
}
