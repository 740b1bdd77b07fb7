//! The folder that `explain` writes.
//!
//! ```text
//! S.M.npy            raw heatmap of the image with stem S by method M, f32 [H,W]
//! S.M.png            the same over the image
//! S.M.baseline.*     with a second network: its own
//! S.M.difference.png and the signed difference
//! sheet-*.png        contact sheets
//! manifest.csv       one row a heatmap
//! explanation.toml   networks, preprocessing, images, options; written last, so that its presence
//!                    means finished
//! ```

pub mod manifest;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sib_core::Error;
use sib_core::checkpoint::{Preprocessing, write_atomic};
use sib_explain::{Method, MethodOptions};

use crate::environment::Environment;
use crate::evaluation::network::Network;
use crate::tree;
use manifest::Which;

/// Name of the file that describes a finished explanation.
pub const DESCRIPTION: &str = "explanation.toml";

/// What `explanation.toml` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Description {
    /// What was explained: the predicted class where there is none, or a class index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<i64>,
    /// What made the heatmaps, in the order of the command line.
    pub methods: Vec<Method>,
    /// The network.
    pub network: Network,
    /// The one that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Network>,
    /// From an image to what the heatmaps cover: they lie over the crop.
    pub preprocessing: Preprocessing,
    /// Options of the methods.
    pub method_options: MethodOptions,
    /// What it ran on.
    pub environment: Environment,
    /// The images that have heatmaps.
    pub images: Vec<Image>,
}

/// An image that was explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Its path, as it was named.
    pub path: PathBuf,
    /// What the names of its files begin with.
    pub stem: String,
}

impl Description {
    /// Writes the file into `folder`, atomically.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text =
            toml::to_string_pretty(self).context("cannot write what was explained as TOML")?;
        Ok(write_atomic(&folder.join(DESCRIPTION), |file| file.write_all(text.as_bytes()))?)
    }

    /// Removes what would make a former explanation in `folder` part of the next one: its
    /// description and its contact sheets.
    ///
    /// # Errors
    /// When the folder cannot be read, or one of them cannot be removed.
    pub fn remove(folder: &Path) -> Result<()> {
        let description = folder.join(DESCRIPTION);
        let description = description.is_file().then_some(description);
        for path in description.into_iter().chain(sheets(folder)?) {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }

    /// Reads the file in `folder`.
    ///
    /// # Errors
    /// When it cannot be read, or was written by a version with other settings.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(DESCRIPTION);
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        toml::from_str(&text).with_context(|| format!("{}: not readable", path.display()))
    }
}

/// The contact sheets in `folder`, in the order of their names.
///
/// # Errors
/// When the folder cannot be read.
pub fn sheets(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let name = entry.map_err(Error::io("read", folder))?.file_name();
        let text = name.to_string_lossy();
        if text.starts_with("sheet-") && text.ends_with(".png") {
            files.push(folder.join(name));
        }
    }
    files.sort();
    Ok(files)
}

/// The file of a heatmap.
pub fn heatmap_file(folder: &Path, stem: &str, method: Method, which: Which) -> PathBuf {
    folder.join(format!("{stem}.{method}{}.npy", which.suffix()))
}

/// A finished explanation.
#[derive(Debug)]
pub struct Finished {
    /// Its folder.
    pub path: PathBuf,
    /// What it is of.
    pub description: Description,
}

/// The finished explanations in the folder at `root` and below it, in the order of their paths.
///
/// # Errors
/// When a folder cannot be read or an explanation is damaged.
pub fn find(root: &Path) -> Result<Vec<Finished>> {
    let mut found = Vec::new();
    for path in tree::folders(root)? {
        if path.join(DESCRIPTION).is_file() {
            found.push(Finished { description: Description::read(&path)?, path });
        }
    }
    Ok(found)
}
