//! A folder to run the program in, and what is asked of what it printed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use clap::Parser;
use sib_cli::cli::Cli;
use sib_cli::error;
use sib_core::checkpoint::{CheckpointMeta, Preprocessing};
use sib_core::testing::fill_by_formula;
use sib_models::{Arch, Model, ModelOptions};
use tch::Device;

/// Tiny: ResNet-18 at 32 px, 40 images, 5 steps an epoch.
pub(crate) const CONFIG: &str = r#"
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
[sib]
"#;

/// Of the built-in data.
const CLASSES: [&str; 10] = [
    "striped-disc",
    "checked-square",
    "dotted-triangle",
    "ringed-star",
    "zigzag-cross",
    "gridded-ring",
    "bricked-hexagon",
    "rayed-crescent",
    "blotched-heart",
    "woven-capsule",
];

/// The program itself.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sib-cli");

pub(crate) struct Workplace {
    folder: tempfile::TempDir,
}

impl Workplace {
    /// An empty folder but for `tiny.toml`.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tiny.toml"), CONFIG).unwrap();
        Self { folder }
    }

    /// As [`Self::new`], with `net.safetensors`, a network that was trained for one epoch.
    pub(crate) fn with_checkpoint() -> Self {
        static CHECKPOINT: OnceLock<Vec<u8>> = OnceLock::new();
        let place = Self::new();
        let checkpoint = CHECKPOINT.get_or_init(|| {
            let output = place.train("run", &["train.epochs=1"]);
            assert_success(&output);
            let bytes = read(&place.path("run/checkpoints/last.safetensors"));
            std::fs::remove_dir_all(place.path("run")).unwrap();
            bytes
        });
        std::fs::write(place.path("net.safetensors"), checkpoint).unwrap();
        place
    }

    /// Writes a checkpoint of `arch` for `tiny.toml` whose weights are a formula's, so that what it gives
    /// is the same on every machine up to rounding.
    pub(crate) fn formula_checkpoint(&self, arch: Arch) -> PathBuf {
        let path = self.path("formula.safetensors");
        let mut model = Model::new(arch, 10, Device::Cpu, &ModelOptions::default()).unwrap();
        fill_by_formula(model.variables_mut());
        let meta = CheckpointMeta {
            classes: CLASSES.map(str::to_owned).into(),
            preprocessing: Preprocessing { resize_px: 32, crop_px: 32, ..Preprocessing::default() },
            config: CONFIG.replace("[train]", "[train]\nseed = 7") + "enabled = true\n",
            ..CheckpointMeta::default()
        };
        model.save(&path, &meta).unwrap();
        path
    }

    /// As [`Self::new`], with these files in it.
    pub(crate) fn with_files(files: &[(PathBuf, Vec<u8>)]) -> Self {
        let place = Self::new();
        for (name, content) in files {
            let path = place.folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        // One thread: sums in libtorch depend on how they are split between threads.
        command.current_dir(self.folder.path()).args(arguments).env("OMP_NUM_THREADS", "1");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn train(&self, run: &str, settings: &[&str]) -> Output {
        self.run(&train_arguments(run, settings))
    }

    /// Lets the program die the `k`-th time that it passes a point, both as `point:k`.
    #[track_caller]
    pub(crate) fn killed_at(&self, point: &str, arguments: &[&str]) {
        let output = self.command(arguments).env("SIB_FAILPOINT", point).output().unwrap();
        assert_eq!(output.status.code(), None, "{point}: it ended by itself:\n{}", stderr(&output));
    }
}

/// Those of a new run of `tiny.toml`.
pub(crate) fn train_arguments<'a>(run: &'a str, settings: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", "--config", "tiny.toml", "--output", run];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    arguments
}

/// What the command of these arguments comes to in this process: its error, where there is one, in
/// words.
pub(crate) fn in_process(arguments: &[String]) -> Result<(), String> {
    let words = std::iter::once("sib-cli").chain(arguments.iter().map(String::as_str));
    let cli = Cli::try_parse_from(words).map_err(|error| error.render().to_string())?;
    cli.run().map_err(|error| error::message(&error))
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub(crate) fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

/// One line says what is wrong, and the exit status whose fault it is.
#[track_caller]
pub(crate) fn assert_refused(output: &Output, code: i32, expected: &str) {
    let stderr = stderr(output);
    assert!(stderr.contains(expected), "expected {expected:?} in:\n{stderr}");
    assert_eq!(stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{stderr}");
    assert_eq!(output.status.code(), Some(code), "{stderr}");
}

#[track_caller]
pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of a CSV file by column.
#[track_caller]
pub(crate) fn read_csv(path: &Path) -> Vec<std::collections::HashMap<String, String>> {
    let mut reader =
        csv::Reader::from_path(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    reader.deserialize().map(|row| row.unwrap()).collect()
}
