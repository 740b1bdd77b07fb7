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

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use sib_core::checkpoint::{Preprocessing, draft_of, remove_drafts, write_atomic};
use sib_core::{Error, plain_file};
use sib_explain::{Method, MethodOptions};

use super::manifest::{self, Which};
use crate::environment::Environment;
use crate::error::with_hint;
use crate::network::Network;
use crate::run::FolderLock;

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

    /// Reads the file in `folder`.
    ///
    /// # Errors
    /// When it cannot be read, or was written by a version with other settings.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(DESCRIPTION);
        let text = plain_file::read_to_string(&path).map_err(Error::io("read", &path))?;
        let description: Self =
            toml::from_str(&text).with_context(|| format!("{}: not readable", path.display()))?;
        // Files are opened by it.
        match description.images.iter().find(|image| image.stem.contains(['/', '\\', '\0'])) {
            Some(Image { stem, .. }) => {
                Err(anyhow!("{}: stem {stem:?}, expected the name of a file", path.display()))
            }
            None => Ok(description),
        }
    }
}

/// Checks that an explanation can be written to `folder`: it is not there, is empty, or holds one that
/// may be replaced.
///
/// # Errors
/// When it holds something else, or an explanation without `overwrite`.
pub fn expect_free(folder: &Path, overwrite: bool) -> Result<()> {
    // What a process leaves that was killed before its first file.
    let is_nothing = |name: &str| name == FolderLock::NAME || draft_of(name).is_some();
    let holds_something =
        files(folder, |name| !is_nothing(name)).is_ok_and(|files| !files.is_empty());
    if !holds_something {
        return Ok(());
    }
    let is_own = folder.join(manifest::MANIFEST).is_file();
    match (is_own, overwrite) {
        (true, true) => Ok(()),
        (true, false) => Err(with_hint(
            anyhow!("{}: holds an explanation already", folder.display()),
            "give another --output, or --overwrite",
        )),
        (false, _) => Err(with_hint(
            anyhow!("{}: neither empty nor the folder of an explanation", folder.display()),
            "give another --output",
        )),
    }
}

/// Makes the folder, in place of the explanation there where it may `overwrite` one, and keeps other processes out of it.
///
/// # Errors
/// As [`expect_free`], when another process holds it, or it cannot be written.
pub fn begin(folder: &Path, overwrite: bool) -> Result<FolderLock> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let lock = FolderLock::hold(folder)?;
    // Another process may have come between.
    expect_free(folder, overwrite)?;
    clear(folder)?;
    Ok(lock)
}

/// Removes the explanation in `folder`, finished or not: every file that could be taken for one of
/// the next.
fn clear(folder: &Path) -> Result<()> {
    let description = folder.join(DESCRIPTION);
    let description = description.is_file().then_some(description);
    let maps = files(folder, |name| {
        let mut parts = name.rsplit('.');
        let ending = parts.next();
        let kind = parts.next().unwrap_or_default();
        let method = match kind {
            "baseline" | "difference" => parts.next().unwrap_or_default(),
            _ => kind,
        };
        matches!(ending, Some("npy" | "png")) && method.parse::<Method>().is_ok()
    })?;
    // The description first: what is left of it when this is interrupted is not finished.
    for path in description.into_iter().chain(sheets(folder)?).chain(maps) {
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    remove_drafts(folder, |_| true);
    Ok(())
}

/// The contact sheets in `folder`, in the order of their names.
///
/// # Errors
/// When the folder cannot be read.
pub fn sheets(folder: &Path) -> Result<Vec<PathBuf>> {
    files(folder, |name| {
        let number = name.strip_prefix("sheet-").and_then(|it| it.strip_suffix(".png"));
        number.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// The files in `folder` whose names are of a kind, in the order of their names.
fn files(folder: &Path, is_of_kind: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let name = entry.map_err(Error::io("read", folder))?.file_name();
        if is_of_kind(&name.to_string_lossy()) {
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

/// Whether `folder` is that of a finished explanation.
pub fn is_finished(folder: &Path) -> bool {
    folder.join(DESCRIPTION).is_file()
}

impl Finished {
    /// Reads the folder at `path`.
    ///
    /// # Errors
    /// When its description cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), description: Description::read(path)? })
    }
}
