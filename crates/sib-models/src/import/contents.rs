//! What a file of weights holds: dicts of named tensors, whose values are read when they are asked for.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::rc::Rc;

use sib_core::checkpoint::read_tensors;
use sib_core::{Error, Result};
use tch::Tensor;

use super::container::{Container, container};
use super::objects::{MAX_NAME_BYTES, Object, ObjectId, Objects};
use super::problem::Problem;
use super::storage::{Storages, TensorRef, single_precision};
use super::{legacy, zipped};

/// State dicts nested deeper than this are not looked for.
const MAX_NESTING: usize = 3;

/// A value of a dict that may be a weight.
#[derive(Debug)]
pub(super) enum Entry {
    /// A tensor still in the file.
    Stored(TensorRef),
    /// A tensor in memory.
    Loaded(Tensor),
    /// What a class or function of this name made: perhaps a tensor, but of a kind that is not read.
    Opaque(Rc<str>),
}

impl Entry {
    /// Its shape, where that is known.
    pub(super) fn size(&self) -> Option<Vec<i64>> {
        match self {
            Self::Stored(tensor) => Some(tensor.size.clone()),
            Self::Loaded(tensor) => Some(tensor.size()),
            Self::Opaque(_) => None,
        }
    }

    /// Whether both are tensors of the same values. Those in a file are, where they are the same part of
    /// it.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stored(one), Self::Stored(other)) => one == other,
            (Self::Loaded(one), Self::Loaded(other)) => {
                one.kind() == other.kind() && one.size() == other.size() && one.equal(other)
            }
            _ => false,
        }
    }
}

/// Tensors by name.
#[derive(Debug)]
pub(super) struct Dict {
    /// The keys that lead to it, joined by full stops; empty where it is the file itself.
    pub(super) name: String,
    pub(super) entries: BTreeMap<String, Entry>,
}

/// All dicts of a file that hold tensors, those nested least first.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) dicts: Vec<Dict>,
    source: Source,
}

/// Where stored tensors come from; a safetensors file is read at once.
#[derive(Debug)]
pub(super) struct Source(Option<Storages<BufReader<File>>>);

impl Contents {
    /// # Errors
    /// The file cannot be read, is damaged, is no file of weights, or names anything that is refused.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (objects, root, storages) = match container(path)? {
            Container::SafeTensors => return Self::of_safetensors(path),
            Container::Zip => zipped::open(path)?,
            Container::Legacy => legacy::open(path)?,
        };
        let dicts = dicts(&objects, root).map_err(|problem| Error::malformed(path, problem))?;
        Ok(Self { dicts, source: Source(Some(storages)) })
    }

    fn of_safetensors(path: &Path) -> Result<Self> {
        let (tensors, _) = read_tensors(path).map_err(|error| match error {
            // The hint of that error is to import it.
            Error::NotACheckpoint { path, problem } => Error::Malformed { path, problem },
            other => other,
        })?;
        if tensors.is_empty() {
            return Err(Error::malformed(path, "holds no tensor"));
        }
        let entries = tensors
            .into_iter()
            .map(|(name, tensor)| (name, Entry::Loaded(single_precision(tensor))))
            .collect();
        let dicts = vec![Dict { name: String::new(), entries }];
        Ok(Self { dicts, source: Source(None) })
    }

    /// The dicts, and what reads their tensors.
    pub(super) fn into_parts(self) -> (Vec<Dict>, Source) {
        (self.dicts, self.source)
    }
}

impl Source {
    /// The tensor `entry`, whose floats become f32.
    ///
    /// # Errors
    /// It is opaque, or its bytes are not what the file says of them.
    pub(super) fn tensor(&mut self, entry: &Entry) -> Result<Tensor, Problem> {
        match (entry, &mut self.0) {
            (Entry::Loaded(tensor), _) => Ok(tensor.shallow_clone()),
            (Entry::Stored(tensor), Some(storages)) => storages.tensor(tensor),
            (Entry::Stored(_), None) => Err("is not in the file".to_owned()),
            (Entry::Opaque(name), _) => {
                Err(format!("made by {name}, which is not read; expected an ordinary dense tensor"))
            }
        }
    }
}

/// The dicts with tensors in and below the object `root`, each once, however often it is referred to.
fn dicts(objects: &Objects, root: ObjectId) -> Result<Vec<Dict>, Problem> {
    match objects.get(root) {
        Object::Dict(_) => {}
        Object::Opaque(class) => {
            return Err(format!(
                "holds a whole {class}, expected a state dict: load it in Python and save its \
                 state_dict()"
            ));
        }
        Object::Tensor(_) => return Err("holds a single tensor, expected a state dict".to_owned()),
        _ => return Err("holds no state dict but another kind of object".to_owned()),
    }
    let mut found = Vec::new();
    let mut seen = HashSet::from([root]);
    let mut too_deep = false;
    let mut open = VecDeque::from([(root, String::new(), 0)]);
    while let Some((id, name, depth)) = open.pop_front() {
        let Object::Dict(members) = objects.get(id) else { continue };
        let mut entries = BTreeMap::new();
        for &(key, value) in members {
            let Some(key) = objects.text(key) else { continue };
            if key.len() > MAX_NAME_BYTES {
                return Err(format!("has a key of more than {MAX_NAME_BYTES} bytes"));
            }
            match objects.get(value) {
                Object::Tensor(tensor) => {
                    entries.insert(key.to_owned(), Entry::Stored(tensor.clone()));
                }
                Object::Opaque(class) => {
                    entries.insert(key.to_owned(), Entry::Opaque(class.clone()));
                }
                Object::Dict(_) if depth == MAX_NESTING || !seen.insert(value) => too_deep = true,
                Object::Dict(_) => {
                    let nested =
                        if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
                    open.push_back((value, nested, depth + 1));
                }
                _ => {}
            }
        }
        if entries.values().any(|entry| matches!(entry, Entry::Stored(_))) {
            found.push(Dict { name, entries });
        }
    }
    if found.is_empty() {
        return Err(without_tensors(objects, root, too_deep));
    }
    Ok(found)
}

/// Why no dict was found.
fn without_tensors(objects: &Objects, root: ObjectId, too_deep: bool) -> Problem {
    let Object::Dict(members) = objects.get(root) else { return String::new() };
    let named: Vec<_> = members
        .iter()
        .filter_map(|&(key, value)| Some((objects.text(key)?, value)))
        .filter(|(key, _)| key.len() <= MAX_NAME_BYTES)
        .collect();
    let opaque = named.iter().find_map(|&(key, value)| match objects.get(value) {
        Object::Opaque(class) => Some((key, class)),
        _ => None,
    });
    if let Some((key, class)) = opaque {
        return format!(
            "holds no state dict: {key:?} is a {class}, expected tensors by name; in Python, save the \
             state_dict() of the network"
        );
    }
    if too_deep {
        return format!("its state dict is nested deeper than {MAX_NESTING} levels");
    }
    let keys: Vec<_> = named.iter().take(8).map(|(key, _)| *key).collect();
    format!("holds no state dict; its first keys are {keys:?}")
}
