//! What the texts of a profile are filled with.

use std::path::Path;

use anyhow::{Context, Result};
use sib_core::Error;
use sib_core::data::DatasetName;
use sib_models::Arch;
use toml::Table;

/// A dataset, backbone and seed.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) dataset: DatasetName,
    pub(super) backbone: Arch,
    pub(super) seed: u64,
    /// Folder of the dataset's archive; none of the built-in data.
    pub(super) root: Option<&'a str>,
    pub(super) output: &'a str,
}

impl Place<'_> {
    /// The text with what it stands for in the places of names.
    pub(super) fn fill(&self, text: &str) -> String {
        text.replace("{dataset}", self.dataset.as_str())
            .replace("{backbone}", self.backbone.name())
            .replace("{seed}", &self.seed.to_string())
            .replace("{root}", self.root.unwrap_or_default())
            .replace("{output}", self.output)
    }

    /// The arguments that name the images.
    pub(super) fn data(&self) -> Vec<String> {
        let mut arguments = vec!["--data".to_owned(), self.dataset.as_str().to_owned()];
        arguments.extend(self.root.iter().flat_map(|root| ["--root", root].map(str::to_owned)));
        arguments
    }
}

/// The folder of a dataset's archive below `data`, as the configurations of the paper's runs in `configs`
/// name it; none of the built-in data.
///
/// # Errors
/// When there is no such configuration, or it names no folder.
pub(super) fn root_of(dataset: DatasetName, configs: &str, data: &str) -> Result<Option<String>> {
    if dataset == DatasetName::Synthetic {
        return Ok(None);
    }
    let file = Path::new(configs).join(format!("paper/data/{dataset}.toml"));
    let text = std::fs::read_to_string(&file).map_err(Error::io("read", &file))?;
    let table: Table = toml::from_str(&text).with_context(|| file.display().to_string())?;
    let root = table.get("data").and_then(|data| data.get("root")).and_then(toml::Value::as_str);
    let name = root.and_then(|root| Path::new(root).file_name());
    let name = name.with_context(|| format!("{}: data.root: not set", file.display()))?;
    Ok(Some(Path::new(data).join(name).display().to_string()))
}
