//! What the arguments choose, checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sib_core::data::{Dataset, DatasetName, GroundTruth, SyntheticOptions};
use sib_explain::{Method, MethodOptions};
use sib_metrics::faithfulness::Protocol;
use toml::{Table, Value};

use crate::commands;
use crate::config::assign;
use crate::error::usage;
use crate::evaluation::settings::Suite;
use crate::note;

/// What `--set` changes.
pub(super) struct Options {
    pub(super) methods: MethodOptions,
    pub(super) faithfulness: Protocol,
    /// Where the dataset is synthetic.
    pub(super) synthetic: Option<SyntheticOptions>,
}

impl Options {
    /// The defaults, but for synthetic data what the network was trained on (`trained` is the
    /// `[data]` table of its configuration), with the assignments of the command line.
    pub(super) fn read(assignments: &[String], data: DatasetName, trained: &Table) -> Result<Self> {
        let is_synthetic = data == DatasetName::Synthetic;
        let mut methods = MethodOptions::default();
        let mut table = Table::new();
        if let Some(options) = trained.get("synthetic").filter(|_| is_synthetic) {
            let synthetic = Table::from_iter([("synthetic".to_owned(), options.clone())]);
            table.insert("data".to_owned(), Value::Table(synthetic));
        }
        for assignment in assignments {
            if assignment.starts_with("data.") && !is_synthetic {
                let problem = format!("{data} has no such setting");
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
        tables.faithfulness.validate().map_err(|error| error.within("faithfulness"))?;
        tables.data.synthetic.validate().map_err(|error| error.within("data.synthetic"))?;
        let synthetic = is_synthetic.then_some(tables.data.synthetic);
        Ok(Self { methods, faithfulness: tables.faithfulness, synthetic })
    }
}

/// The suites named that the images have what it takes for, and those that they have not; why is
/// printed.
pub(super) fn suites(
    names: &[String],
    kind: GroundTruth,
    dataset: &Dataset,
) -> Result<(Vec<Suite>, Vec<Suite>)> {
    let mut asked = BTreeSet::new();
    for name in names {
        match name.as_str() {
            "all" => asked.extend(Suite::ALL),
            name => {
                asked.insert(name.parse()?);
            }
        }
    }
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
        note!("error: suite {suite}: {} has {kind}; the others are measured", dataset.name);
    }
    Ok((suites, refused))
}

/// Checks that a whole batch is enough for the suites.
pub(super) fn expect_batches(suites: &[Suite], batch_size: u64, images: usize) -> Result<()> {
    let whole = batch_size.min(images as u64);
    if suites.contains(&Suite::Information) && whole < 2 {
        return Err(usage(format!(
            "suite information: got batches of {whole}, expected at least 2: it compares the images \
             of a batch"
        )));
    }
    Ok(())
}

/// The methods named, where a suite needs them.
pub(super) fn methods(
    names: &[String],
    suites: &[Suite],
    folders: &BTreeMap<String, PathBuf>,
) -> Result<Vec<Method>> {
    if !suites.iter().any(|suite| suite.needs_heatmaps()) {
        return Ok(Vec::new());
    }
    if names.is_empty() && folders.is_empty() {
        return Ok(Method::PAPER.to_vec());
    }
    commands::methods(names)
}

/// The folders of heatmaps by their names.
pub(super) fn heatmap_folders(paths: &[PathBuf]) -> Result<BTreeMap<String, PathBuf>> {
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

/// The folder's path from the root of the file system.
pub(super) fn canonical(root: &Path) -> Result<PathBuf> {
    root.canonicalize().with_context(|| format!("{}: cannot read", root.display()))
}

/// A distance in pixels.
pub(super) fn tolerance(px: f64) -> Result<f64> {
    if px.is_finite() && px >= 0.0 {
        return Ok(px);
    }
    Err(usage(format!("--pointing-tolerance-px: got {px}, expected a number of at least 0")))
}
