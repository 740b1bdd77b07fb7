//! Self-describing checkpoints: a safetensors file whose tensor names are the state-dict keys and
//! whose header says which network it is, its classes, its preprocessing and how it was made.
//!
//! Python reads the same file with `safetensors.torch.load_file`.

mod atomic;
mod container;
mod finite;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::Tensor;

pub use atomic::{draft_of, remove_drafts, write_atomic};
pub use container::{read_metadata, read_tensors, write_tensors};
pub use finite::{expect_finite, non_finite};

use crate::{Error, Result, classes};

/// How an image becomes the network's input: resize, centre crop, scale to `[0,1]`, normalise.
///
/// The default is the paper's training set-up for everything but ImageNet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocessing {
    /// Length of the image's short side after resizing; the aspect ratio is kept.
    pub resize_px: i64,
    /// Side of the central square that is cut out, at most `resize_px`.
    pub crop_px: i64,
    /// Subtracted from each of R, G, B in `[0,1]`.
    pub mean: [f64; 3],
    /// Divides each of R, G, B after the mean is subtracted.
    pub std: [f64; 3],
}

impl Default for Preprocessing {
    fn default() -> Self {
        Self { resize_px: 256, crop_px: 224, mean: [0.5; 3], std: [0.5; 3] }
    }
}

/// What a checkpoint says about itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CheckpointMeta {
    /// Architecture name, as on the command line.
    pub arch: String,
    /// Class names in the order of the logits; may be empty where none are known.
    pub classes: Vec<String>,
    /// What the network expects of its input.
    pub preprocessing: Preprocessing,
    /// Configuration of the run that made it, as TOML; may be empty.
    pub config: String,
    /// Version of the software that wrote it.
    pub version: String,
    /// Anything else worth keeping, by name.
    pub extra: BTreeMap<String, String>,
}

/// Version of the header's layout; marks a safetensors file as a checkpoint of this project.
const LAYOUT_KEY: &str = "sib_checkpoint";
const LAYOUT: &str = "1";

impl CheckpointMeta {
    /// The header's string map; nested values are JSON.
    fn to_header(&self, path: &Path) -> Result<BTreeMap<String, String>> {
        fn json(path: &Path, value: &impl Serialize) -> Result<String> {
            serde_json::to_string(value).map_err(|error| {
                Error::malformed(path, format!("metadata is not representable: {error}"))
            })
        }
        Ok([
            (LAYOUT_KEY, LAYOUT.to_owned()),
            ("arch", self.arch.clone()),
            ("classes", json(path, &self.classes)?),
            ("preprocessing", json(path, &self.preprocessing)?),
            ("config", self.config.clone()),
            ("version", self.version.clone()),
            ("extra", json(path, &self.extra)?),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into())
    }

    /// The inverse of [`Self::to_header`].
    fn from_header(path: &Path, header: &BTreeMap<String, String>) -> Result<Self> {
        match header.get(LAYOUT_KEY).map(String::as_str) {
            Some(LAYOUT) => {}
            Some(other) => {
                let problem =
                    format!("checkpoint layout {other:?} is newer than this software's {LAYOUT:?}");
                return Err(Error::malformed(path, problem));
            }
            None => {
                let problem = "a safetensors file, but not a checkpoint: its header names no \
                               architecture, classes or preprocessing";
                return Err(Error::NotACheckpoint {
                    path: path.to_owned(),
                    problem: problem.to_owned(),
                });
            }
        }
        let text = |key: &str| {
            header
                .get(key)
                .map(String::as_str)
                .ok_or_else(|| Error::malformed(path, format!("header lacks {key:?}")))
        };
        fn json<T: for<'a> Deserialize<'a>>(path: &Path, key: &str, text: &str) -> Result<T> {
            serde_json::from_str(text)
                .map_err(|error| Error::malformed(path, format!("header, {key:?}: {error}")))
        }
        let names: Vec<String> = json(path, "classes", text("classes")?)?;
        classes::expect_distinct(&names)
            .map_err(|problem| Error::malformed(path, format!("header, it {problem}")))?;
        Ok(Self {
            arch: text("arch")?.to_owned(),
            classes: names,
            preprocessing: json(path, "preprocessing", text("preprocessing")?)?,
            config: text("config")?.to_owned(),
            version: text("version")?.to_owned(),
            extra: json(path, "extra", text("extra")?)?,
        })
    }
}

/// Writes a checkpoint so that `path` holds either its former content or the whole new one.
///
/// # Errors
/// The file cannot be written, or a tensor's kind has no safetensors name.
pub fn write_checkpoint(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    meta: &CheckpointMeta,
) -> Result<()> {
    write_tensors(path, tensors, &meta.to_header(path)?)
}

/// The metadata of a checkpoint; reads the file's header only.
///
/// # Errors
/// The file cannot be read, is not a checkpoint of this project, or names a class twice.
pub fn read_meta(path: &Path) -> Result<CheckpointMeta> {
    CheckpointMeta::from_header(path, &read_metadata(path)?)
}

/// The tensors (on the CPU) and the metadata of a checkpoint.
///
/// # Errors
/// The file cannot be read, is damaged, is not a checkpoint of this project, names a class twice, or
/// holds a number that is not finite.
pub fn read_checkpoint(path: &Path) -> Result<(BTreeMap<String, Tensor>, CheckpointMeta)> {
    let meta = read_meta(path)?;
    let (tensors, _) = read_tensors(path)?;
    expect_finite(path, &tensors)?;
    Ok((tensors, meta))
}
