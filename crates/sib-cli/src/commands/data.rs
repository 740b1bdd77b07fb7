//! `sib-cli data`: what datasets there are, whether one is whole, and its images as files.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use sib_core::data::check::{SplitReport, check};
use sib_core::data::{self, DatasetName, GroundTruth, Split};

use crate::config::DataConfig;
use crate::note;
use crate::progress::Progress;

/// Arguments of `data`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Describe the datasets: size, licence, where published, what to unpack
    List,
    /// Decode every image and mask of a dataset and report what is missing or broken
    Check(Source),
    /// Write the images of a split as PNG files
    Export(Export),
}

/// Which dataset.
#[derive(Debug, Args)]
struct Source {
    #[arg(long, value_name = "NAME", help = DatasetName::listed())]
    data: DatasetName,
    /// Folder of the unpacked archive; synthetic needs none
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Export {
    #[command(flatten)]
    source: Source,
    /// train, test or val
    #[arg(long, default_value = "test")]
    split: Split,
    /// At most this many images, evenly over the classes
    #[arg(long)]
    limit: Option<usize>,
    /// Folder to write to
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

impl Source {
    fn config(&self) -> DataConfig {
        DataConfig {
            name: self.data,
            root: self.root.clone(),
            allow_missing: true,
            ..DataConfig::default()
        }
    }
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::List => {
            let mut out = io::stdout().lock();
            DatasetName::ALL.into_iter().try_for_each(|name| list(name, &mut out))?;
            Ok(())
        }
        Command::Check(source) => check_all(source),
        Command::Export(export) => write_images(export),
    }
}

fn list(name: DatasetName, out: &mut impl Write) -> io::Result<()> {
    let it = name.spec();
    writeln!(out, "{name}: {}", it.full_name)?;
    let count = |n: Option<usize>| n.map_or("any number of".to_owned(), |n| n.to_string());
    writeln!(
        out,
        "  {} classes, {} training and {} test images, {}",
        count(it.classes),
        count(it.train_images),
        count(it.test_images),
        it.size
    )?;
    for (key, value) in [
        ("annotations", it.annotations),
        ("ground truth", it.ground_truth.map_or("none", GroundTruth::as_str)),
        ("reference", it.reference),
        ("licence", it.licence),
        ("published", it.published),
        ("unpack", it.unpack),
        ("layout", it.layout),
    ] {
        writeln!(out, "  {key:<12} {value}")?;
    }
    writeln!(out)
}

fn check_all(source: &Source) -> Result<()> {
    let config = source.config();
    let root = config.root()?;
    let progress = Mutex::new(None);
    let report = check(config.name, root, &config.options(), |_, total| {
        let mut progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        progress
            .get_or_insert_with(|| Progress::new("check", total as u64, 0, "images"))
            .step(String::new);
    });
    let mut out = io::stdout().lock();
    report.splits.iter().try_for_each(|split| print_split(split, &mut out))?;
    for (split, reason) in &report.failed {
        writeln!(out, "{split}: {reason}")?;
    }
    if report.is_clean() {
        return Ok(());
    }
    bail!(
        "{}: the dataset is not whole, see above; expected {}",
        root.display(),
        config.name.spec().layout
    )
}

/// How many examples of one kind of trouble are printed.
const EXAMPLES: usize = 10;

fn print_split(split: &SplitReport, out: &mut impl Write) -> io::Result<()> {
    let published = split.published_images.map_or(String::new(), |n| format!(" of {n} published"));
    writeln!(
        out,
        "{}: {} images{published}, {} classes, {} with boxes, {} with a mask",
        split.split,
        split.images,
        split.class_counts.len(),
        split.with_boxes,
        split.with_mask
    )?;
    for (class, count) in &split.class_counts {
        writeln!(out, "  {count:>7} {class}")?;
    }
    writeln!(
        out,
        "  {} missing, {} with problems, {} files left out that are no images by their names",
        split.missing.len(),
        split.problems.len(),
        split.ignored.len()
    )?;
    for path in split.missing.iter().take(EXAMPLES) {
        writeln!(out, "  missing: {path}")?;
    }
    for path in split.ignored.iter().take(EXAMPLES) {
        writeln!(out, "  left out: {path}")?;
    }
    for problem in split.problems.iter().take(EXAMPLES) {
        writeln!(out, "  {}: {}", problem.id, problem.detail)?;
    }
    Ok(())
}

fn write_images(export: &Export) -> Result<()> {
    let config = export.source.config();
    let dataset = data::open(config.name, config.root()?, export.split, &config.options())?;
    let dataset = match export.limit {
        Some(n) => dataset.limit(n),
        None => dataset,
    };
    std::fs::create_dir_all(&export.output)
        .map_err(sib_core::Error::io("create", &export.output))?;
    let mut written = HashSet::new();
    for record in &dataset.records {
        let class = &dataset.classes[record.label];
        let name = format!("{class}-{}.png", record.id.replace(['/', '\\'], "-"));
        let path = export.output.join(name);
        if !written.insert(path.clone()) {
            bail!("{}: the name of two images, one of them {}", path.display(), record.id);
        }
        let image = record.source.load()?;
        image.save(&path).with_context(|| format!("{}: cannot write", path.display()))?;
    }
    note!("{}: {} images", export.output.display(), dataset.records.len());
    Ok(())
}
