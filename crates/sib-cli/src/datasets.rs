//! What datasets there are, whether one is whole, and its images as files.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Result, bail};
use sha2::{Digest, Sha256};
use sib_core::checkpoint::remove_drafts;
use sib_core::data::check::{SplitReport, check};
use sib_core::data::{self, Dataset, DatasetName, GroundTruth, Split};

use crate::config::DataConfig;
use crate::images;
use crate::note;
use crate::output;
use crate::progress::Progress;

/// Describes every dataset: size, licence, where published, what to unpack.
///
/// # Errors
/// When nobody reads it.
pub fn list_all() -> Result<()> {
    let mut out = output::results();
    DatasetName::ALL.into_iter().try_for_each(|name| list(name, &mut out))?;
    Ok(())
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

/// Decodes every image and mask, and says what is there, missing or broken, in words or as `json`.
///
/// # Errors
/// When the dataset is not whole.
pub fn check_all(config: &DataConfig, json: bool) -> Result<()> {
    let root = config.root()?;
    let progress = Mutex::new(None);
    let report = check(config.name, root, &config.options(), |_, total| {
        let mut progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        progress
            .get_or_insert_with(|| Progress::new("check", total as u64, 0, "images"))
            .step(String::new);
    });
    let mut out = output::results();
    if json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        report.splits.iter().try_for_each(|split| print_split(split, &mut out))?;
        for (split, reason) in &report.failed {
            writeln!(out, "{split}: {reason}")?;
        }
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
    for path in split.unlisted.iter().take(EXAMPLES) {
        writeln!(out, "  in no split: {path}")?;
    }
    for problem in split.problems.iter().take(EXAMPLES) {
        writeln!(out, "  {}: {}", problem.id, problem.detail)?;
    }
    Ok(())
}

/// Writes the images of a split, at most `limit` of them evenly over the classes, as `CLASS-ID.png` into the
/// folder `output`.
///
/// # Errors
/// When one cannot be decoded or written, or two would have the same name.
pub fn write_images(
    config: &DataConfig,
    split: Split,
    limit: Option<usize>,
    output: &Path,
) -> Result<()> {
    let dataset = data::open(config.name, config.root()?, split, &config.options())?;
    let dataset = match limit {
        Some(n) => dataset.limit(n),
        None => dataset,
    };
    std::fs::create_dir_all(output).map_err(sib_core::Error::io("create", output))?;
    remove_drafts(output, |_| true);
    let mut written = HashSet::new();
    for record in &dataset.records {
        let class = &dataset.classes[record.label];
        let name = format!("{class}-{}.png", record.id).replace(['/', '\\'], "-");
        let path = output.join(name);
        if !written.insert(path.clone()) {
            bail!("{}: the name of two images, one of them {}", path.display(), record.id);
        }
        let image = record.source.load()?;
        images::write_png(&image, &path)?;
    }
    note!("{}: {} images", output.display(), dataset.records.len());
    Ok(())
}

/// SHA-256 of its images' ids and labels, in their order.
pub fn sha256(dataset: &Dataset) -> String {
    let mut digest = Sha256::new();
    for record in &dataset.records {
        digest.update(format!("{}\t{}\n", record.id, record.label));
    }
    format!("{:x}", digest.finalize())
}
