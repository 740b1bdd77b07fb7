//! `sib-cli evaluate`: accuracy of a network and quality of its heatmaps on a dataset.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sib_core::data::{
    self, DataOptions, Dataset, DatasetName, GroundTruth, Split, SyntheticOptions,
};
use sib_explain::{Method, MethodOptions};
use sib_metrics::Threshold;
use sib_metrics::faithfulness::Protocol;
use sib_metrics::localization::max_box_acc::Contours;
use sib_models::Precision;
use toml::{Table, Value};

use crate::checkpoint::Checkpoint;
use crate::config::assign;
use crate::environment::Environment;
use crate::error::usage;
use crate::evaluation;
use crate::evaluation::folder::{DatasetFacts, Description};
use crate::evaluation::network::{Network, StoredConfig, sha256};
use crate::evaluation::settings::{Settings, Suite, Target};
use crate::evaluation::summary::MetricRow;

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Trained network
    #[arg(long, value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Dataset: cifar100, imagenet, cub200, pets, dogs, folder or synthetic
    #[arg(long, value_name = "NAME")]
    data: DatasetName,
    /// Folder of the unpacked archive; synthetic needs none
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Part of the dataset: train or test
    #[arg(long, default_value = "test")]
    split: Split,
    /// Go on without images that the split files name and that are not there
    #[arg(long)]
    allow_missing: bool,
    /// What to measure: all, or of accuracy, localization, faithfulness, information, sanity
    #[arg(long, value_name = "all|SUITE[,SUITE]...", value_delimiter = ',', required = true)]
    suite: Vec<String>,
    /// Methods whose heatmaps are scored by name, or all: the paper's six and the S-IB map
    /// [default: all, but none with --heatmaps]
    #[arg(long, value_name = "all|NAME[,NAME]...", value_delimiter = ',')]
    method: Vec<String>,
    /// Folder of heatmaps from elsewhere, ID.npy [H,W] for each image id, scored under the
    /// folder's name; repeatable
    #[arg(long, value_name = "DIR")]
    heatmaps: Vec<PathBuf>,
    /// Which class the heatmaps explain
    #[arg(long, value_enum, default_value_t)]
    target: Target,
    /// At most this many images: the first of the order that --seed draws
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Seed of the order in which the images are visited
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Images that go through the network together
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
    batch_size: u64,
    /// Ground truth of localization: auto (mask where there is one, else box), box or mask
    #[arg(long, default_value = "auto", value_parser = parse_ground_truth)]
    ground_truth: GroundTruth,
    /// What of a heatmap is foreground: fixed(T), mean, otsu or top(FRACTION)
    #[arg(long, default_value = "fixed(0.5)")]
    threshold: Threshold,
    /// How far from the object the highest pixel still counts as a hit of the pointing game
    #[arg(long, default_value_t = 0.0, value_name = "PX", allow_negative_numbers = true)]
    pointing_tolerance_px: f64,
    /// Borders that give the boxes of MaxBoxAcc: largest, or all (MaxBoxAccV2)
    #[arg(long, default_value = "largest", value_parser = parse_contours)]
    contours: Contours,
    /// Change an option of a method (integrated-gradients.steps=100), of insertion and deletion
    /// (faithfulness.step_px=1792, .insertion, .deletion, .batch) or of synthetic data
    /// (data.synthetic.test_rho=1.0); repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
    /// Folder of the evaluation; one that was interrupted goes on
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Numbers of work that takes no gradient (predictions, score-cam, insertion and deletion):
    /// Numbers of passes without gradient (logits, insertion and deletion, score-cam): f32 or bf16
    #[arg(long, default_value_t)]
    precision: Precision,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
}

fn parse_ground_truth(name: &str) -> Result<GroundTruth, String> {
    match name {
        "auto" => Ok(GroundTruth::Auto),
        "box" => Ok(GroundTruth::Box),
        "mask" => Ok(GroundTruth::Mask),
        _ => Err("expected auto, box or mask".to_owned()),
    }
}

fn parse_contours(name: &str) -> Result<Contours, String> {
    match name {
        "largest" => Ok(Contours::Largest),
        "all" => Ok(Contours::All),
        _ => Err("expected largest or all".to_owned()),
    }
}

/// Evaluates, or goes on with an evaluation that was interrupted, and prints the summary.
pub fn run(arguments: &Arguments) -> Result<()> {
    let path = &arguments.checkpoint;
    let checkpoint = Checkpoint::open(path, &arguments.device, arguments.precision)?;
    let stored = StoredConfig::of(&checkpoint.meta, path)?;
    let options = Options::read(arguments, &stored.data)?;
    let mut dataset = open(arguments, options.synthetic.as_ref(), &checkpoint)?;
    let images_in_split = dataset.records.len();
    choose(&mut dataset, arguments.seed, arguments.limit);

    let (suites, refused) = suites(arguments, &dataset)?;
    let heatmaps = folders(&arguments.heatmaps)?;
    let settings = Settings {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        checkpoint_sha256: sha256(path)?,
        data: arguments.data,
        root: arguments.root.as_deref().map(canonical).transpose()?,
        split: arguments.split,
        allow_missing: arguments.allow_missing,
        limit: arguments.limit.map(|limit| limit as usize),
        seed: arguments.seed,
        batch_size: arguments.batch_size as usize,
        device: arguments.device.clone(),
        precision: arguments.precision,
        methods: methods(&arguments.method, &suites, &heatmaps)?,
        suites,
        heatmaps,
        target: arguments.target,
        ground_truth: arguments.ground_truth,
        threshold: arguments.threshold,
        pointing_tolerance_px: tolerance(arguments.pointing_tolerance_px)?,
        contours: arguments.contours,
        faithfulness: options.faithfulness,
        method_options: options.methods,
        synthetic: options.synthetic,
    };
    let description = Description {
        settings,
        network: Network::of(&checkpoint.meta, &stored, path),
        dataset: DatasetFacts {
            name: dataset.name,
            split: dataset.split,
            classes: dataset.classes.len(),
            images_in_split,
            missing: dataset.missing.len(),
            images: dataset.records.len(),
        },
        environment: Environment::of(checkpoint.device),
    };
    let finished = evaluation::run(&description, &checkpoint, dataset, &arguments.output)?;
    print(&finished.summary);
    finished.expect_no_faults(&arguments.output)?;
    match &refused[..] {
        [] => Ok(()),
        [suite, ..] => bail!("suite {suite} was not measured"),
    }
}

/// What `--set` changes.
struct Options {
    methods: MethodOptions,
    faithfulness: Protocol,
    synthetic: Option<SyntheticOptions>,
}

impl Options {
    /// The defaults, but for synthetic data what the network was trained on (`trained` is the
    /// `[data]` table of its configuration), with the assignments of the command line.
    fn read(arguments: &Arguments, trained: &Table) -> Result<Self> {
        let is_synthetic = arguments.data == DatasetName::Synthetic;
        let mut methods = MethodOptions::default();
        let mut table = Table::new();
        if let Some(options) = trained.get("synthetic").filter(|_| is_synthetic) {
            let data = Table::from_iter([("synthetic".to_owned(), options.clone())]);
            table.insert("data".to_owned(), Value::Table(data));
        }
        for assignment in &arguments.assignments {
            if assignment.starts_with("data.") && !is_synthetic {
                let problem = format!("{} has no such setting", arguments.data);
                return Err(usage(format!("--set {assignment}: {problem}")));
            }
            match assignment.split('.').next() {
                Some("faithfulness" | "data") => assign(&mut table, assignment)?,
                _ => methods.set(assignment)?,
            }
        }
        /// The tables that `--set` may reach.
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Tables {
            faithfulness: Protocol,
            data: Data,
        }
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Data {
            synthetic: SyntheticOptions,
        }
        let tables: Tables = Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| usage(format!("--set: {}", error.message())))?;
        let synthetic = is_synthetic.then_some(tables.data.synthetic);
        Ok(Self { methods, faithfulness: tables.faithfulness, synthetic })
    }
}

/// The suites named that the images have what it takes for, and those that they have not; why is
/// printed.
fn suites(arguments: &Arguments, dataset: &Dataset) -> Result<(Vec<Suite>, Vec<Suite>)> {
    let mut asked = BTreeSet::new();
    for name in &arguments.suite {
        match name.as_str() {
            "all" => asked.extend(Suite::ALL),
            name => {
                asked.insert(name.parse()?);
            }
        }
    }
    let kind = arguments.ground_truth;
    let has_ground_truth = dataset.records.iter().any(|record| kind.of(record).is_some());
    let (suites, refused): (Vec<Suite>, Vec<Suite>) =
        asked.into_iter().partition(|suite| *suite != Suite::Localization || has_ground_truth);
    let kind = match kind {
        GroundTruth::Auto => "neither masks nor boxes",
        GroundTruth::Box => "no boxes",
        GroundTruth::Mask => "no masks",
    };
    if suites.is_empty() {
        bail!("suite localization: {} has {kind}", dataset.name);
    }
    for suite in &refused {
        eprintln!("error: suite {suite}: {} has {kind}; the others are measured", dataset.name);
    }
    Ok((suites, refused))
}

fn canonical(root: &Path) -> Result<PathBuf> {
    root.canonicalize().with_context(|| format!("{}: cannot read", root.display()))
}

/// The dataset, labelled by the checkpoint's classes.
fn open(
    arguments: &Arguments,
    synthetic: Option<&SyntheticOptions>,
    checkpoint: &Checkpoint,
) -> Result<Dataset> {
    let root = match &arguments.root {
        Some(root) => root.as_path(),
        None if arguments.data == DatasetName::Synthetic => Path::new(""),
        None => {
            return Err(usage(format!(
                "--root: not given, expected the folder of the unpacked {} archive",
                arguments.data
            )));
        }
    };
    let options = DataOptions {
        allow_missing: arguments.allow_missing,
        synthetic: synthetic.cloned().unwrap_or_default(),
    };
    let dataset = data::open(arguments.data, root, arguments.split, &options)?;
    let (known, logits) = (&checkpoint.meta.classes, checkpoint.model.num_classes() as usize);
    if !known.is_empty() {
        return Ok(dataset.relabelled(known)?);
    }
    if dataset.classes.len() != logits {
        bail!(
            "{}: {logits} classes without names, but {} has {}",
            arguments.checkpoint.display(),
            dataset.name,
            dataset.classes.len()
        );
    }
    Ok(dataset)
}

/// Puts the images in the order that `seed` draws and keeps the first `limit`, so that a smaller
/// subset is part of a larger one.
fn choose(dataset: &mut Dataset, seed: u64, limit: Option<u64>) {
    dataset.records.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    if let Some(limit) = limit {
        dataset.records.truncate(limit as usize);
    }
}

/// The folders of heatmaps by their names.
fn folders(paths: &[PathBuf]) -> Result<BTreeMap<String, PathBuf>> {
    let mut folders = BTreeMap::new();
    for path in paths {
        let path = canonical(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.parse::<Method>().is_ok() {
            let problem = format!("{name} is the name of a method");
            return Err(usage(format!("--heatmaps {}: {problem}", path.display())));
        }
        if let Some(other) = folders.insert(name, path.clone()) {
            let (path, other) = (path.display(), other.display());
            return Err(usage(format!("--heatmaps {path}: has the name of {other}")));
        }
    }
    Ok(folders)
}

/// The methods named, each once in the order given, where a suite needs them.
fn methods(
    names: &[String],
    suites: &[Suite],
    folders: &BTreeMap<String, PathBuf>,
) -> Result<Vec<Method>> {
    if !suites.iter().any(|suite| suite.needs_heatmaps()) {
        return Ok(Vec::new());
    }
    let mut methods = Vec::new();
    if names.is_empty() && folders.is_empty() {
        methods.extend(Method::ALL);
    }
    for name in names {
        match name.trim() {
            "all" => methods.extend(Method::ALL),
            name => methods.push(name.parse()?),
        }
    }
    let mut seen = BTreeSet::new();
    methods.retain(|method| seen.insert(method.name()));
    Ok(methods)
}

fn tolerance(px: f64) -> Result<f64> {
    if px.is_finite() && px >= 0.0 {
        return Ok(px);
    }
    Err(usage(format!("--pointing-tolerance-px: got {px}, expected a number of at least 0")))
}

/// The summary as aligned text.
fn print(rows: &[MetricRow]) {
    for row in rows {
        let digits = if row.metric.ends_with("_pct") { 2 } else { 4 };
        let value = row.value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
        let error = row.standard_error.map_or(String::new(), |e| format!(" ± {e:.digits$}"));
        println!("{:<24}{:<30}{value:>9}{error}", row.method, row.metric);
    }
}
