//! Weights of other software: PyTorch files in the zip and the older container, and safetensors,
//! with torchvision's or timm's key names.

mod globals;
mod keys;
mod legacy;
mod pickle;
mod storage;
mod zipped;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use sib_core::checkpoint::read_tensors;
use sib_core::{Error, Result};
use tch::{Device, Kind, Tensor};

use crate::Arch;
use crate::model::{LoadReport, Model, ModelOptions, Reshaped};
use pickle::{Object, ObjectId, Objects};
use storage::Storages;

/// What a part of the import says went wrong; the caller adds the file.
type Problem = String;

/// Entries of a training checkpoint that hold the state dict, in the order they are tried.
const STATE_DICT_ENTRIES: [&str; 3] = ["state_dict", "model_state_dict", "model"];
/// State dicts nested deeper than this are not looked for.
const MAX_NESTING: usize = 3;
/// What wrappers put before every key.
const WRAPPER_PREFIXES: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// The state dict in `path`, a PyTorch file or safetensors, under the keys of `arch` and on the
/// CPU; f16, bf16 and f64 become f32.
///
/// Pickles are read by a machine that knows tensors, storages and ordered dicts and refuses
/// everything else, so no code of a file ever runs. Memory stays within a small multiple of the
/// file's size.
///
/// # Errors
/// The file cannot be read, is damaged, holds no state dict, or names anything that is refused.
pub fn read_state_dict(path: &Path, arch: Arch) -> Result<BTreeMap<String, Tensor>> {
    read(path, arch).map(|(state, _)| state)
}

/// [`read_state_dict`], with the tensors that were resized on the way.
fn read(path: &Path, arch: Arch) -> Result<(BTreeMap<String, Tensor>, Vec<Reshaped>)> {
    let state = match container(path)? {
        Container::SafeTensors => {
            let (tensors, _) = read_tensors(path)?;
            tensors.into_iter().map(|(name, tensor)| (name, single_precision(tensor))).collect()
        }
        Container::Zip => {
            let (objects, root, mut storages) = zipped::open(path)?;
            state_dict(&objects, root, &mut storages)
                .map_err(|problem| Error::malformed(path, problem))?
        }
        Container::Legacy => {
            let (objects, root, mut storages) = legacy::open(path)?;
            state_dict(&objects, root, &mut storages)
                .map_err(|problem| Error::malformed(path, problem))?
        }
    };
    keys::translate(strip_wrappers(state), arch).map_err(|problem| Error::malformed(path, problem))
}

impl Model {
    /// Fills the network from `path`, any file that [`read_state_dict`] reads.
    ///
    /// The final layer keeps its values where the file has another number of classes.
    ///
    /// # Errors
    /// The file cannot be read or belongs to another architecture.
    pub fn load_weights(&self, path: &Path) -> Result<LoadReport> {
        let (mut state, resized) = read(path, self.arch())?;
        let counters_added = keys::add_batch_counters(&mut state, &self.state_dict());
        let report = self.load_state_dict(&state, path);
        let problem = match report {
            Ok(report) => match keys::foreign_part(&report, &self.state_dict(), self.arch()) {
                None => return Ok(LoadReport { resized, counters_added, ..report }),
                Some(problem) => problem,
            },
            Err(Error::Malformed { problem, .. }) => problem,
            Err(error) => return Err(error),
        };
        Err(Error::malformed(path, problem + &resemblance(path, self.arch())))
    }

    /// The network `arch` with the weights of `path`; `num_classes` defaults to the file's.
    ///
    /// # Errors
    /// As [`Self::load_weights`] and [`Self::new`].
    pub fn import(
        path: &Path,
        arch: Arch,
        num_classes: Option<i64>,
        device: Device,
        options: &ModelOptions,
    ) -> Result<(Self, LoadReport)> {
        let num_classes = match num_classes {
            Some(number) => number,
            None => {
                let state = read_state_dict(path, arch)?;
                let head = format!("{}.weight", arch.head());
                let rows = state.get(&head).and_then(|weight| weight.size().first().copied());
                rows.ok_or_else(|| {
                    let problem =
                        format!("has no {head:?}: not {arch}, or without its final layer");
                    Error::malformed(path, problem + &resemblance(path, arch))
                })?
            }
        };
        let model = Self::new(arch, num_classes, device, options)?;
        let report = model.load_weights(path)?;
        Ok((model, report))
    }
}

enum Container {
    Zip,
    SafeTensors,
    Legacy,
}

/// Tells the containers apart by their first bytes.
fn container(path: &Path) -> Result<Container> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(Error::io("read", path))?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    file.take(512).read_to_end(&mut start).map_err(Error::io("read", path))?;
    let announced = start.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    if start.starts_with(b"PK\x03\x04") {
        Ok(Container::Zip)
    } else if start.get(8) == Some(&b'{') && announced.is_some_and(|header| header < length) {
        Ok(Container::SafeTensors)
    } else if start.get(257..262) == Some(b"ustar") {
        let problem = "a PyTorch file of before 2017 in a tar container: load and save it again \
                       with a newer PyTorch";
        Err(Error::malformed(path, problem))
    } else {
        Ok(Container::Legacy)
    }
}

/// The tensors of the state dict in the object `root`.
fn state_dict(
    objects: &Objects,
    root: ObjectId,
    storages: &mut Storages<impl Read + Seek>,
) -> Result<BTreeMap<String, Tensor>, Problem> {
    let mut root = root;
    for _ in 0..=MAX_NESTING {
        let Object::Dict(entries) = objects.get(root) else {
            return Err("holds no state dict but another kind of object".to_owned());
        };
        let named: Vec<(&str, ObjectId)> =
            entries.iter().filter_map(|&(key, value)| Some((objects.text(key)?, value))).collect();
        let nested = STATE_DICT_ENTRIES.iter().find_map(|entry| {
            let (_, value) = named.iter().find(|(key, _)| key == entry)?;
            matches!(objects.get(*value), Object::Dict(_)).then_some(*value)
        });
        if let Some(nested) = nested {
            root = nested;
            continue;
        }
        let mut tensors = BTreeMap::new();
        for (key, value) in &named {
            if let Object::Tensor(tensor) = objects.get(*value) {
                let tensor = storages.tensor(tensor).map_err(|why| format!("{key:?}: {why}"))?;
                tensors.insert((*key).to_owned(), tensor);
            }
        }
        if tensors.is_empty() {
            let keys: Vec<_> = named.iter().take(8).map(|(key, _)| *key).collect();
            return Err(format!("holds no state dict; its first keys are {keys:?}"));
        }
        return Ok(tensors);
    }
    Err(format!("its state dict is nested deeper than {MAX_NESTING} levels"))
}

/// Takes off the prefixes that every key has from wrappers.
fn strip_wrappers(mut state: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    while let Some(prefix) = WRAPPER_PREFIXES
        .into_iter()
        .find(|prefix| !state.is_empty() && state.keys().all(|key| key.starts_with(prefix)))
    {
        state = state
            .into_iter()
            .map(|(key, tensor)| (key[prefix.len()..].to_owned(), tensor))
            .collect();
    }
    state
}

/// Floating-point elements as f32; others as they are.
fn single_precision(tensor: Tensor) -> Tensor {
    match tensor.kind() {
        Kind::Half | Kind::BFloat16 | Kind::Double => tensor.to_kind(Kind::Float),
        _ => tensor,
    }
}

/// For an error about a file that is not `arch`: which architecture it may be.
fn resemblance(path: &Path, arch: Arch) -> String {
    let has_landmark = |other: &Arch| {
        let (name, shape) = other.landmark();
        read_state_dict(path, *other)
            .is_ok_and(|state| state.get(name).is_some_and(|tensor| tensor.size() == shape))
    };
    Arch::ALL
        .into_iter()
        .filter(|other| *other != arch)
        .find(has_landmark)
        .map_or(String::new(), |other| format!(" (it may be {other})"))
}

/// A reader of the whole file, and its length in bytes.
fn open_file(path: &Path) -> Result<(BufReader<File>, u64)> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    Ok((BufReader::new(file), length))
}
