//! `sib-cli evaluate`: accuracy of a network and quality of its heatmaps on a dataset.

use std::collections::BTreeSet;
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
use toml::{Table, Value};

use crate::checkpoint::Checkpoint;
use crate::config::assign;
use crate::error::usage;
use crate::evaluation::folder::{DatasetFacts, Description};
use crate::evaluation::network::{Network, StoredConfig, sha256};
use crate::evaluation::settings::{Settings, Suite, Target};
use crate::evaluation::{self, expect_no_faults};

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
    /// What to measure: accuracy, localization
    #[arg(long, value_name = "SUITE", value_delimiter = ',', required = true)]
    suite: Vec<Suite>,
    /// Explainers whose heatmaps are scored: names, or all for those of the paper
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    method: Vec<String>,
    /// Setting of an explainer, as integrated-gradients.steps=20; repeatable
    #[arg(long = "method-option", value_name = "KEY=VALUE")]
    method_options: Vec<String>,
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
    #[arg(long, default_value_t = 0.0, value_name = "PX")]
    pointing_tolerance_px: f64,
    /// Change a setting of synthetic data, as data.synthetic.test_rho=1.0; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
    /// Folder of the evaluation; one that was interrupted goes on
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
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

/// Evaluates, or goes on with an evaluation that was interrupted, and prints the summary.
pub fn run(arguments: &Arguments) -> Result<()> {
    let path = &arguments.checkpoint;
    let checkpoint = Checkpoint::open(path, &arguments.device)?;
    let stored = StoredConfig::of(&checkpoint.meta, path)?;
    let synthetic = synthetic_options(arguments, &stored.data)?;
    let mut dataset = open(arguments, synthetic.as_ref())?;
    let images_in_split = dataset.records.len();
    choose(&mut dataset, arguments.seed, arguments.limit);

    let asked: BTreeSet<Suite> = arguments.suite.iter().copied().collect();
    let (suites, refused): (Vec<Suite>, Vec<Suite>) =
        asked.into_iter().partition(|suite| has_what_it_needs(*suite, arguments, &dataset));
    for suite in &refused {
        eprintln!(
            "error: suite {suite}: {} has no ground truth of the kind {}",
            dataset.name,
            kind_name(arguments.ground_truth)
        );
    }
    if suites.is_empty() {
        bail!("no suite is left to measure");
    }
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
        methods: methods(&arguments.method, &suites)?,
        suites,
        target: arguments.target,
        ground_truth: arguments.ground_truth,
        threshold: arguments.threshold,
        pointing_tolerance_px: tolerance(arguments.pointing_tolerance_px)?,
        method_options: method_options(&arguments.method_options)?,
        synthetic,
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
    };
    let finished = evaluation::run(&description, &checkpoint, dataset, &arguments.output)?;
    print(&finished.summary);
    expect_no_faults(&finished, &arguments.output)?;
    match &refused[..] {
        [] => Ok(()),
        [suite, ..] => bail!("suite {suite} was not measured"),
    }
}

fn canonical(root: &Path) -> Result<PathBuf> {
    root.canonicalize().with_context(|| format!("{}: cannot read", root.display()))
}

/// The settings that the network was trained with, changed by `--set`; none of other datasets.
fn synthetic_options(arguments: &Arguments, trained: &Table) -> Result<Option<SyntheticOptions>> {
    if arguments.data != DatasetName::Synthetic {
        return match arguments.assignments.first() {
            None => Ok(None),
            Some(set) => Err(usage(format!("--set {set}: {} has no settings", arguments.data))),
        };
    }
    let mut table = Table::new();
    if let Some(options) = trained.get("synthetic") {
        let data = Table::from_iter([("synthetic".to_owned(), options.clone())]);
        table.insert("data".to_owned(), Value::Table(data));
    }
    for set in &arguments.assignments {
        if !set.starts_with("data.synthetic.") {
            return Err(usage(format!("--set {set}: expected a key of data.synthetic")));
        }
        assign(&mut table, set)?;
    }
    let options = table.get("data").and_then(|data| data.get("synthetic"));
    let options = options.cloned().unwrap_or_else(|| Value::Table(Table::new()));
    let options = options
        .try_into()
        .map_err(|error: toml::de::Error| usage(format!("data.synthetic: {}", error.message())))?;
    Ok(Some(options))
}

fn open(arguments: &Arguments, synthetic: Option<&SyntheticOptions>) -> Result<Dataset> {
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
    Ok(data::open(arguments.data, root, arguments.split, &options)?)
}

/// Puts the images in the order that `seed` draws and keeps the first `limit`, so that a smaller
/// subset is part of a larger one.
fn choose(dataset: &mut Dataset, seed: u64, limit: Option<u64>) {
    dataset.records.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    if let Some(limit) = limit {
        dataset.records.truncate(limit as usize);
    }
}

fn has_what_it_needs(suite: Suite, arguments: &Arguments, dataset: &Dataset) -> bool {
    suite != Suite::Localization
        || dataset.records.iter().any(|record| arguments.ground_truth.of(record).is_some())
}

fn kind_name(kind: GroundTruth) -> &'static str {
    match kind {
        GroundTruth::Auto => "auto (mask or box)",
        GroundTruth::Box => "box",
        GroundTruth::Mask => "mask",
    }
}

/// The methods named, each once in the order given; those of the paper where none is and a suite
/// needs them.
fn methods(names: &[String], suites: &[Suite]) -> Result<Vec<Method>> {
    if !suites.iter().any(|suite| suite.needs_heatmaps()) {
        return Ok(Vec::new());
    }
    let mut methods = Vec::new();
    let all = [String::from("all")];
    for name in if names.is_empty() { &all[..] } else { names } {
        let named = if name == "all" { Method::ALL.to_vec() } else { vec![name.parse()?] };
        methods.extend(named);
    }
    let mut seen = BTreeSet::new();
    methods.retain(|method: &Method| seen.insert(method.name()));
    Ok(methods)
}

fn method_options(assignments: &[String]) -> Result<MethodOptions> {
    let mut options = MethodOptions::default();
    assignments.iter().try_for_each(|assignment| options.set(assignment))?;
    Ok(options)
}

fn tolerance(px: f64) -> Result<f64> {
    if px.is_finite() && px >= 0.0 {
        return Ok(px);
    }
    Err(usage(format!("--pointing-tolerance-px: got {px}, expected a number of at least 0")))
}

/// The summary as aligned text.
fn print(rows: &[evaluation::summary::MetricRow]) {
    for row in rows {
        let value = row.value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        let error = row.standard_error.map_or(String::new(), |error| format!(" ± {error:.2}"));
        println!("{:<22}{:<22}{value:>9}{error}", row.method, row.metric);
    }
}
