//! The configuration of a training run: TOML files that may extend one another, then `--set`.

use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sib_core::checkpoint::Preprocessing;
use sib_core::data::transform::Operation;
use sib_core::data::{DataOptions, DatasetName, Mix, SyntheticOptions, Transform};
use sib_core::nearest;
use sib_core::objective::SibConfig;
use sib_core::train::TrainConfig;
use sib_models::{Arch, ModelOptions};
use toml::{Table, Value};

use crate::dotted;
use crate::error::{usage, with_hint};
use crate::run_record::RunRecord;

/// Everything that determines a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The configuration that this one changes, or several of which each changes those before it;
    /// relative to this file. Resolved and dropped when the file is read.
    #[serde(skip_serializing)]
    pub extend: Extend,
    /// The network.
    pub model: ModelConfig,
    /// The images.
    pub data: DataConfig,
    /// Training.
    pub train: TrainConfig,
    /// The S-IB terms; absent for plain training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sib: Option<SibConfig>,
}

/// Paths of configurations to start from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "extend: expected a path or a list of paths")]
pub enum Extend {
    /// One.
    One(PathBuf),
    /// Any number, in the order in which they are applied.
    Several(Vec<PathBuf>),
}

impl Default for Extend {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Extend {
    fn paths(&self) -> &[PathBuf] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }
}

/// The network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Architecture.
    pub arch: Arch,
    /// Initial weights: a checkpoint or any file that `sib-cli import` reads; unset: torchvision's
    /// random initialisation. The head is replaced where the number of classes differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// Dropout, where the architecture has any.
    pub options: ModelOptions,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { arch: Arch::ResNet18, weights: None, options: ModelOptions::default() }
    }
}

/// The images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Dataset.
    pub name: DatasetName,
    /// Folder of the unpacked archive; `synthetic` needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Go on without images that the split files name and that are not there.
    pub allow_missing: bool,
    /// Resize, crop and normalisation.
    pub preprocessing: Preprocessing,
    /// Random resized crop and flip in training (the paper: ImageNet only).
    pub augment: bool,
    /// One random change of colour or geometry a training image (TrivialAugment), after the crop.
    pub trivial_augment: bool,
    /// Training images mixed with one another: `{ mixup = { alpha = 0.2 } }` or
    /// `{ cut-mix = { alpha = 1.0 } }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
    /// Draw training images with replacement, each class as often as any other.
    pub class_balanced: bool,
    /// Threads that decode; unset: one a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<NonZeroUsize>,
    /// Memory for decoded images of each split, which later epochs take from there.
    pub cache_mib: usize,
    /// At most this many training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_train: Option<usize>,
    /// At most this many validation images, where there is such a split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_val: Option<usize>,
    /// At most this many test images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_test: Option<usize>,
    /// Settings of `synthetic`.
    pub synthetic: SyntheticOptions,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            name: DatasetName::Synthetic,
            root: None,
            allow_missing: false,
            preprocessing: Preprocessing::default(),
            augment: false,
            trivial_augment: false,
            mix: None,
            class_balanced: false,
            workers: None,
            cache_mib: 0,
            limit_train: None,
            limit_val: None,
            limit_test: None,
            synthetic: SyntheticOptions::default(),
        }
    }
}

impl DataConfig {
    /// How the dataset is opened.
    pub fn options(&self) -> DataOptions {
        DataOptions { allow_missing: self.allow_missing, synthetic: self.synthetic.clone() }
    }

    /// The dataset's folder; empty for `synthetic`.
    ///
    /// # Errors
    /// When `data.root` is not set and the dataset is not built in.
    pub fn root(&self) -> Result<&Path> {
        match &self.root {
            Some(root) => Ok(root),
            None if !self.name.spec().needs_root() => Ok(Path::new("")),
            None => Err(usage(format!(
                "data.root: not set, expected the folder of the unpacked {} archive",
                self.name
            ))),
        }
    }

    /// The transform of training images.
    ///
    /// # Errors
    /// When `preprocessing` is out of range.
    pub fn train_transform(&self) -> Result<Transform> {
        let mut transform = Transform::matching(&self.preprocessing)?;
        if self.augment {
            let Preprocessing { crop_px, mean, std, .. } = self.preprocessing;
            transform = Transform::augmented(crop_px as u32, mean, std)?;
        }
        if self.trivial_augment {
            transform.operations.push(Operation::TrivialAugment {});
        }
        Ok(transform)
    }
}

impl Config {
    /// Reads the file at `path`, resolves what it extends, applies `assignments` (`key=value`,
    /// values in TOML, bare words are strings) and checks every setting.
    ///
    /// Paths of a file are relative to its folder, those of `assignments` to the working folder; what is
    /// returned has whole paths.
    ///
    /// # Errors
    /// One message naming the file, key or value; unknown keys are errors.
    pub fn load(path: &Path, assignments: &[String]) -> Result<Self> {
        let mut table = read_extended(path, 0)?;
        for assignment in assignments {
            assign(&mut table, assignment)?;
        }
        let sets_lambda_fg = table
            .get("sib")
            .and_then(Value::as_table)
            .is_some_and(|sib| sib.contains_key("lambda_fg"));
        let file = format!("{}, with --set", path.display());
        let mut config: Self = deserialised(Value::Table(table), &file)?;
        config.data.root = config.data.root.as_deref().map(whole_path).transpose()?;
        config.model.weights = config.model.weights.as_deref().map(whole_path).transpose()?;
        if let Some(sib) = &mut config.sib
            && !sets_lambda_fg
        {
            sib.lambda_fg = paper_lambda_fg(config.model.arch, config.data.name);
        }
        config.validate()?;
        Ok(config)
    }

    /// The configuration as TOML that [`Self::load`] reads back unchanged.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).context("cannot write the configuration as TOML")
    }

    fn validate(&self) -> Result<()> {
        self.train.validate("train")?;
        self.data.root()?;
        self.data.train_transform()?;
        self.data.mix.map_or(Ok(()), |mix| mix.validate("data.mix"))?;
        let crop_px = self.data.preprocessing.crop_px;
        self.model.arch.check_image_size(crop_px, crop_px)?;
        if let Some(sib) = self.sib.as_ref().filter(|sib| sib.enabled) {
            sib.validate("sib")?;
            let least = sib.hsic.estimator.min_batch();
            if (self.train.batch_size as i64) < least {
                return Err(usage(format!(
                    "train.batch_size: got {}, expected at least {least} with S-IB: its \
                     foreground term compares the images of a batch",
                    self.train.batch_size
                )));
            }
        }
        Ok(())
    }
}

/// λ_fg of the paper: 0.01, but 1e-5 for ViT-B/32 on Pets, Dogs and ImageNet (decision F1).
fn paper_lambda_fg(arch: Arch, data: DatasetName) -> f64 {
    match (arch, data) {
        (Arch::VitB32, DatasetName::Pets | DatasetName::Dogs | DatasetName::ImageNet) => 1e-5,
        _ => SibConfig::default().lambda_fg,
    }
}

/// The file's table on top of those that it extends.
fn read_extended(path: &Path, depth: usize) -> Result<Table> {
    if depth > 8 {
        return Err(usage(format!("{}: extends itself, or too deeply", path.display())));
    }
    let text = std::fs::read_to_string(path)
        .map_err(sib_core::Error::io("read", path))
        .map_err(|error| usage(error.to_string()))?;
    // Checked here, file by file: only the text still has lines to point at.
    let parsed = toml::Deserializer::parse(&text)
        .map_err(|error| usage(format!("{}: {}", path.display(), error.to_string().trim_end())))?;
    let checked: Config = deserialised(parsed, &path.display().to_string())?;
    let mut table: Table = toml::from_str(&text)?;
    relocate(&mut table, path);
    table.remove("extend");
    let mut merged = Table::new();
    for base in checked.extend.paths() {
        let base = path.parent().unwrap_or(Path::new("")).join(base);
        merge(&mut merged, read_extended(&base, depth + 1)?);
    }
    merge(&mut merged, table);
    Ok(merged)
}

/// The configuration in `source`; errors name the `file`, the key and, where one looks like it, the
/// key that may have been meant.
fn deserialised<'de, D>(source: D, file: &str) -> Result<Config>
where
    D: serde::Deserializer<'de, Error = toml::de::Error>,
{
    serde_path_to_error::deserialize(source).map_err(|error| {
        let key = error.path().to_string();
        let problem = in_words(error.inner());
        let problem = if problem.contains('\n') { format!("\n{problem}") } else { problem };
        let error = usage(format!("{file}: {key}: {problem}"));
        let known = if problem.contains("unknown field") { all_keys() } else { Vec::new() };
        match nearest::key(&key, &known) {
            Some(meant) => with_hint(error, format!("did you mean {meant}?")),
            None => error,
        }
    })
}

/// What serde calls by Rust's names, in those of the field; with the line where there is one.
fn in_words(error: &toml::de::Error) -> String {
    let mut text = match error.span() {
        Some(_) => error.to_string().trim_end().to_owned(),
        None => error.message().to_owned(),
    };
    for number in ["u64", "usize", "i64", "u32"] {
        text = text.replace(&format!("expected {number}"), "expected a whole number");
    }
    text.replace("expected f64", "expected a number")
}

/// Every key that has a value by default, with S-IB.
fn all_keys() -> Vec<String> {
    let all = Config { sib: Some(SibConfig::default()), ..Config::default() };
    dotted::of(&all, "").map_or(Vec::new(), |settings| settings.into_keys().collect())
}

/// Makes paths in the `table` of the file at `path` relative to its folder, as `extend` is.
///
/// A run's own `config.toml` holds whole paths; relative ones in it were written by a version that
/// took them from where it was started, and stay.
fn relocate(table: &mut Table, path: &Path) {
    let folder = path.parent().unwrap_or(Path::new(""));
    if RunRecord::is_at(folder) {
        return;
    }
    for (section, key) in [("data", "root"), ("model", "weights")] {
        let section = table.get_mut(section).and_then(Value::as_table_mut);
        if let Some(Value::String(text)) = section.and_then(|section| section.get_mut(key)) {
            *text = folder.join(&*text).display().to_string();
        }
    }
}

/// The path from the root of the file system, without `..` where there is something.
fn whole_path(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(usage("data.root, model.weights: got an empty path"));
    }
    let goes_up = path.components().any(|part| part == Component::ParentDir);
    match path.canonicalize() {
        Ok(whole) if goes_up => Ok(whole),
        _ => Ok(std::path::absolute(path).map_err(sib_core::Error::io("find", path))?),
    }
}

/// Puts `changes` over `base`, table by table.
fn merge(base: &mut Table, changes: Table) {
    for (key, value) in changes {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(changes)) => merge(base, changes),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Applies one `key=value`; the value is TOML, a bare word a string.
pub(crate) fn assign(table: &mut Table, assignment: &str) -> Result<()> {
    let malformed = || usage(format!("--set {assignment}: expected key=value, as train.epochs=10"));
    let (key, text) = assignment.split_once('=').ok_or_else(malformed)?;
    let text = text.trim();
    let parsed = toml::from_str::<Table>(&format!("value = {text}"));
    let value = match parsed.ok().and_then(|mut table| table.remove("value")) {
        Some(value) => value,
        None => Value::String(text.to_owned()),
    };
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().filter(|last| !last.is_empty()).ok_or_else(malformed)?;
    let mut here = table;
    for part in parts {
        here = here
            .entry(part)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| usage(format!("--set {assignment}: {part} is not a table")))?;
    }
    here.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)], assignments: &[&str]) -> Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let assignments: Vec<String> = assignments.iter().map(ToString::to_string).collect();
        Config::load(&folder.path().join(files[0].0), &assignments)
    }

    #[test]
    fn a_file_changes_what_it_extends_and_set_changes_both() {
        let config = load(
            &[
                ("sib.toml", "extend = 'base.toml'\n[sib]\nevery = 2\n"),
                ("base.toml", "extend = ['a.toml', 'b.toml']\n[train]\nbatch_size = 8\n"),
                ("a.toml", "[train]\nepochs = 5\n[train.optimizer]\nlearning_rate = 1.0\n"),
                ("b.toml", "[train]\nepochs = 7\n"),
            ],
            &["train.batch_size=4", "sib.vjp.scalar=logits"],
        )
        .unwrap();
        assert_eq!((config.train.epochs, config.train.batch_size), (7, 4));
        assert_eq!(config.train.optimizer.learning_rate, 1.0);
        let sib = config.sib.unwrap();
        assert_eq!((sib.every, sib.vjp.scalar), (2, sib_core::objective::Scalar::Logits));
    }

    #[test]
    fn the_reference_lists_every_setting_with_its_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/reference.toml");
        let all = Config { sib: Some(SibConfig::default()), ..Config::default() };
        assert_eq!(Config::load(&path, &[]).unwrap(), all);
        let listed: Table = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(listed, toml::from_str(&all.to_toml().unwrap()).unwrap());
    }

    /// 5 datasets, 4 networks, without and with S-IB: `configs/paper/`.
    #[test]
    fn the_papers_configurations_are_its_settings() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/paper");
        let archs = ["resnet18", "resnet50", "densenet121", "vit_b_32"];
        // Batch size and learning rate by network.
        let settings = [
            ("cifar100", [256, 64, 64, 64], [1e-4; 4]),
            ("cub200", [64, 64, 64, 128], [1e-4; 4]),
            ("pets", [32, 64, 64, 128], [1e-4; 4]),
            ("dogs", [128, 97, 64, 256], [1e-4; 4]),
            ("imagenet", [256, 64, 64, 256], [1e-5, 1e-5, 1e-4, 1e-6]),
        ];
        for (data, batch_sizes, learning_rates) in settings {
            for ((arch, batch_size), rate) in archs.into_iter().zip(batch_sizes).zip(learning_rates)
            {
                let load = |name: String| Config::load(&folder.join(name), &[]).unwrap();
                let baseline = load(format!("{data}-{arch}.toml"));
                let sib = load(format!("{data}-{arch}-sib.toml"));
                assert_eq!(baseline.model.arch.name(), arch);
                assert_eq!(baseline.data.name.as_str(), data);
                assert_eq!(baseline.train.batch_size, batch_size, "{data} {arch}");
                assert_eq!(baseline.train.optimizer.learning_rate, rate, "{data} {arch}");
                assert_eq!((baseline.train.epochs, baseline.train.seed), (90, 43));
                assert_eq!(baseline.data.augment, data == "imagenet");
                assert!(baseline.sib.is_none());
                // Nothing but S-IB differs.
                let terms = sib.sib.clone().unwrap();
                assert_eq!(Config { sib: None, ..sib }, baseline);
                let exception = arch == "vit_b_32" && ["pets", "dogs", "imagenet"].contains(&data);
                let lambdas = (terms.lambda_bg, terms.lambda_fg);
                assert_eq!(lambdas, (1000.0, if exception { 1e-5 } else { 0.01 }));
            }
        }
        let files = std::fs::read_dir(&folder).unwrap();
        let tomls = files.filter(|file| file.as_ref().unwrap().path().extension().is_some());
        assert_eq!(tomls.count(), 40);
    }

    #[test]
    fn the_resolved_configuration_reads_back_unchanged() {
        let config = load(&[("a.toml", "[sib]\n[data]\nlimit_test = 5\n")], &[]).unwrap();
        let again = load(&[("b.toml", &config.to_toml().unwrap())], &[]).unwrap();
        assert_eq!(config, again);
    }

    #[test]
    fn the_papers_exception_for_vit_is_a_default_only() {
        let vit = "[model]\narch = 'vit_b_32'\n[data]\nname = 'pets'\nroot = '.'\n[sib]\n";
        assert_eq!(load(&[("a.toml", vit)], &[]).unwrap().sib.unwrap().lambda_fg, 1e-5);
        let set = load(&[("a.toml", vit)], &["sib.lambda_fg=0.5"]).unwrap();
        assert_eq!(set.sib.unwrap().lambda_fg, 0.5);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = load(&[("a.toml", "[train]\nepoch = 7\n")], &[]).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("unknown field `epoch`"), "{error}");
        let error = load(&[("a.toml", "")], &["train.epoch=7"]).unwrap_err().to_string();
        assert!(error.contains("--set") && error.contains("unknown field `epoch`"), "{error}");
    }

    #[test]
    fn one_image_a_batch_is_refused_with_s_ib_only() {
        assert!(load(&[("a.toml", "[train]\nbatch_size = 1\n")], &[]).is_ok());
        let error = load(&[("a.toml", "[train]\nbatch_size = 1\n[sib]\n")], &[]).unwrap_err();
        assert!(error.to_string().starts_with("train.batch_size: got 1, expected at least 2"));
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_file_is_read_or_refused(
            changes in proptest::collection::vec((0..500_usize, proptest::prelude::any::<u8>()), 0..6),
            end in 0..500_usize,
        ) {
            let config = Config { sib: Some(SibConfig::default()), ..Config::default() };
            let mut bytes = config.to_toml().unwrap().into_bytes();
            for (at, value) in changes {
                bytes[at] = value;
            }
            if end > 250 {
                bytes.truncate(end);
            }
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            let _ = Config::load(file.path(), &[]);
        }
    }
}
