//! `sib-cli evaluate`: accuracy of a network and quality of its heatmaps on a dataset.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use sib_core::data::{DatasetName, Split};
use sib_core::dotted;
use sib_models::Precision;

use crate::checkpoint::{self, Checkpoint};
use crate::datasets;
use crate::environment::Environment;
use crate::error::usage;
use crate::evaluation;
use crate::evaluation::choices::{
    Options, canonical, heatmap_folders, leave_out_suites, methods, suites,
};
use crate::evaluation::description::{DatasetFacts, Description};
use crate::evaluation::images::{self, Images};
use crate::evaluation::settings::{Settings, Target};
use crate::evaluation::suite::Suite;
use crate::evaluation::suites::comparison::Comparison;
use crate::evaluation::summary_row::SummaryRow;
use crate::network::{Network, StoredConfig, sha256};
use crate::note;
use crate::output;
use crate::processes::{self, Member};

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Trained network: a file, or the folder of a run
    #[arg(long, value_name = "CKPT")]
    checkpoint: PathBuf,
    #[arg(long, value_name = "NAME", help = format!("Dataset: {}", DatasetName::listed()))]
    data: DatasetName,
    /// Folder of the unpacked archive; synthetic needs none
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Part of the dataset: train, test or val
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
    #[command(flatten)]
    localization: Comparison,
    /// Let insertion and deletion follow calibrated probabilities: those of each half of the images at the temperature
    /// that fits the labels of the other half
    #[arg(long)]
    calibrate: bool,
    /// Change an option of a method (integrated-gradients.steps=100), of insertion and deletion
    /// (faithfulness.step_px=1792, .insertion, .deletion, .batch) or of synthetic data
    /// (data.synthetic.test_rho=1.0); repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
    /// Folder of the evaluation; one that was interrupted goes on
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Print the summary as JSON, an object a line
    #[arg(long)]
    json: bool,
    /// Numbers of passes without gradient (logits, insertion and deletion, score-cam): f32 or bf16
    #[arg(long, default_value_t)]
    precision: Precision,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    processes: processes::Arguments,
}

/// Evaluates, or goes on with an evaluation that was interrupted, and prints the summary.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Some(Member { group, device, .. }) =
        &processes::join(&arguments.processes, &arguments.device)?
    else {
        return Ok(());
    };
    let path = &checkpoint::file(&arguments.checkpoint)?;
    let checkpoint = Checkpoint::on(*device, path, arguments.precision)?;
    let stored = StoredConfig::of(&checkpoint.meta, path)?;
    let options = Options::read(&arguments.assignments, arguments.data, &stored.data)?;
    let images = Images {
        data: arguments.data,
        root: arguments.root.as_deref(),
        split: arguments.split,
        allow_missing: arguments.allow_missing,
        synthetic: options.synthetic.as_ref(),
    };
    let mut dataset = images::open(&images, &checkpoint, &arguments.checkpoint)?;
    dataset.remarks().iter().for_each(|remark| note!("{remark}"));
    let images_in_split = dataset.records.len();
    images::choose(&mut dataset, arguments.seed, arguments.limit);

    arguments.localization.validate()?;
    let mut settings = Settings {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        checkpoint_sha256: sha256(path)?,
        data: arguments.data,
        root: arguments.root.as_deref().map(canonical).transpose()?,
        split: dataset.split,
        allow_missing: arguments.allow_missing,
        limit: arguments.limit.map(|limit| limit as usize),
        seed: arguments.seed,
        batch_size: arguments.batch_size as usize,
        device: arguments.device.clone(),
        precision: arguments.precision,
        methods: Vec::new(),
        suites: suites(&arguments.suite)?,
        heatmaps: heatmap_folders(&arguments.heatmaps)?,
        target: arguments.target,
        localization: arguments.localization.clone(),
        faithfulness: options.faithfulness,
        calibrate: arguments.calibrate,
        method_options: options.methods,
        synthetic: options.synthetic,
    };
    if settings.calibrate && !settings.has(Suite::Faithfulness) {
        return Err(usage(
            "--calibrate: expected suite faithfulness, whose scores it is about".to_owned(),
        ));
    }
    let refused = leave_out_suites(&mut settings, &dataset)?;
    settings.methods = methods(&arguments.method, &settings.suites, &settings.heatmaps)?;
    let description = Description {
        settings,
        network: Network::of(&checkpoint.meta, path)?,
        dataset: DatasetFacts::of(&dataset, images_in_split),
        environment: Environment::of(checkpoint.device),
    };
    let mut facts = processes::of_one_program();
    facts.extend(
        dotted::of(&description.settings, "")?.into_iter().filter(|(key, _)| key != "root"),
    );
    facts.push(("the digest of the images".to_owned(), datasets::sha256(&dataset)));
    group.agree(&facts)?;
    let output = &arguments.output;
    let Some(finished) = evaluation::run(&description, &checkpoint, dataset, output, group)? else {
        return Ok(());
    };
    let printed =
        if arguments.json { print_json(&finished.summary) } else { print(&finished.summary) };
    if finished.without_object {
        let DatasetFacts { name, split, images, .. } = &description.dataset;
        let suite = Suite::Localization;
        bail!(
            "suite {suite}: none of the {images} images of {name} {split} has an object: every mask \
             or box is empty, or outside the crop"
        );
    }
    finished.expect_no_faults(&arguments.output)?;
    match &refused[..] {
        // That nobody reads the summary hides nothing that went wrong.
        [] => printed,
        [suite, ..] => bail!("suite {suite} was not measured"),
    }
}

/// The summary as JSON, a row a line.
fn print_json(rows: &[SummaryRow]) -> Result<()> {
    let mut out = output::results();
    rows.iter().try_for_each(|row| Ok(writeln!(out, "{}", serde_json::to_string(row)?)?))
}

/// The summary as aligned text.
fn print(rows: &[SummaryRow]) -> Result<()> {
    let mut out = output::results();
    for row in rows {
        let digits = if row.metric.ends_with("_pct") { 2 } else { 4 };
        let value = row.value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
        let error = row.standard_error.map_or(String::new(), |e| format!(" ± {e:.digits$}"));
        // A number over fewer images than were asked about says so.
        let without = match row.excluded {
            0 => String::new(),
            _ => format!("  over {}, without {}", row.n, row.excluded_for),
        };
        writeln!(out, "{:<24}{:<30}{value:>9}{error}{without}", row.method, row.metric)?;
    }
    if let Some(frac) = rows.iter().find_map(|row| row.mean_foreground_frac) {
        writeln!(out, "{:<24}{:<30}{frac:>9.4}", "", "mean_foreground_frac")?;
    }
    Ok(())
}
