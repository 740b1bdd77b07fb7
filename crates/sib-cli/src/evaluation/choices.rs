//! What an evaluation is asked to do, checked against the images and the network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sib_core::data::{Dataset, DatasetName, SyntheticOptions};
use sib_explain::{Method, MethodOptions};
use sib_metrics::faithfulness::Protocol;
use toml::{Table, Value};

use super::settings::Settings;
use super::suite::Suite;
use crate::config::assign;
use crate::error::usage;
use crate::output;

/// What `--set` changes.
#[derive(Debug)]
pub struct Options {
    /// Of the explainers.
    pub methods: MethodOptions,
    /// Of insertion and deletion.
    pub faithfulness: Protocol,
    /// Where the dataset is synthetic.
    pub synthetic: Option<SyntheticOptions>,
}

impl Options {
    /// The defaults, but for synthetic data what the network was trained on (`trained` is the
    /// `[data]` table of its configuration), with the assignments of the command line.
    ///
    /// # Errors
    /// For a key that is none, or a value of another type.
    pub fn read(assignments: &[String], data: DatasetName, trained: &Table) -> Result<Self> {
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

/// The suites named.
///
/// # Errors
/// For a name that is none.
pub fn suites(names: &[String]) -> Result<Vec<Suite>> {
    let mut asked = BTreeSet::new();
    for name in names {
        match name.as_str() {
            "all" => asked.extend(Suite::ALL),
            name => {
                asked.insert(name.parse()?);
            }
        }
    }
    Ok(asked.into_iter().collect())
}

/// Leaves those of the settings' suites that the images have what it takes for, and returns the others;
/// why is printed.
///
/// # Errors
/// When none is left, or a suite could measure nothing so.
pub fn leave_out_suites(settings: &mut Settings, dataset: &Dataset) -> Result<Vec<Suite>> {
    let lacking = |&suite: &Suite| Some((suite, suite.definition().lacks(settings, dataset)?));
    let refused: Vec<(Suite, String)> = settings.suites.iter().filter_map(lacking).collect();
    if let Some((suite, why)) = refused.first().filter(|_| refused.len() == settings.suites.len()) {
        bail!("suite {suite}: {why}");
    }
    for (suite, why) in &refused {
        output::error(format_args!("error: suite {suite}: {why}; the others are measured"));
    }
    let refused: Vec<Suite> = refused.into_iter().map(|(suite, _)| suite).collect();
    settings.suites.retain(|suite| !refused.contains(suite));
    for suite in &settings.suites {
        suite.definition().validate(settings, dataset)?;
    }
    Ok(refused)
}

/// The methods named, where a suite needs them.
///
/// # Errors
/// For a name that is none.
pub fn methods(
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
    crate::explanation::methods(names)
}

/// The folders of heatmaps by their names.
///
/// # Errors
/// When one is not there, its name is a method's or a spreadsheet might take it for a formula, or two have one name.
pub fn heatmap_folders(paths: &[PathBuf]) -> Result<BTreeMap<String, PathBuf>> {
    let mut folders = BTreeMap::new();
    for path in paths {
        let path = canonical(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.parse::<Method>().is_ok() {
            let problem = format!("{name} is the name of a method");
            return Err(usage(format!("--heatmaps {}: {problem}", path.display())));
        }
        if !name.starts_with(char::is_alphanumeric) || name.contains(char::is_control) {
            let expected =
                "expected a folder whose name can be a method's: a letter or digit first";
            return Err(usage(format!("--heatmaps {}: {expected}", path.display())));
        }
        if let Some(other) = folders.insert(name, path.clone()) {
            let (path, other) = (path.display(), other.display());
            return Err(usage(format!("--heatmaps {path}: has the name of {other}")));
        }
    }
    Ok(folders)
}

/// The folder's path from the root of the file system.
///
/// # Errors
/// When it is not there.
pub fn canonical(root: &Path) -> Result<PathBuf> {
    root.canonicalize().with_context(|| format!("{}: cannot read", root.display()))
}
