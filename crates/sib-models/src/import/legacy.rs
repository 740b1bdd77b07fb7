//! PyTorch's container of before 1.6: five pickles (a mark, the version, the machine, the object,
//! the storages' keys), then for each storage its number of elements and its bytes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use sib_core::{Error, Result};

use super::container::{STRANGER, open_file};
use super::objects::{Object, ObjectId, Objects};
use super::pickle;
use super::problem::Problem;
use super::storage::{Extent, Storages};

/// The number that the first pickle holds.
const MARK: i128 = 0x1950_a86a_20f9_469c_fc6c;
/// The only version of the format.
const VERSION: i128 = 1001;

type Opened = (Objects, ObjectId, Storages<BufReader<File>>);

/// Reads the structure of the file; its storages are read when asked for.
pub(super) fn open(path: &Path) -> Result<Opened> {
    let (file, length) = open_file(path)?;
    read(file, length).map_err(|problem| Error::malformed(path, problem))
}

fn read(mut file: BufReader<File>, length: u64) -> Result<Opened, Problem> {
    let (objects, root) = pickle::read(&mut file)?;
    if !matches!(objects.get(root), Object::Int(MARK)) {
        return Err(format!(
            "{STRANGER}, but a pickle of something else: write it with torch.save"
        ));
    }
    let (objects, root) = pickle::read(&mut file)?;
    if !matches!(objects.get(root), Object::Int(VERSION)) {
        return Err(format!("not version {VERSION} of PyTorch's older container"));
    }
    // What is said of the machine has no effect: storages are little-endian on every machine.
    pickle::read(&mut file)?;
    let (objects, root) = pickle::read(&mut file)?;
    let (keys, keys_root) = pickle::read(&mut file)?;
    let keys = keys.sequence(keys_root).and_then(|members| {
        members.iter().map(|id| keys.text(*id).map(str::to_owned)).collect::<Option<Vec<_>>>()
    });
    let keys = keys.ok_or("is damaged: its list of storages is none")?;

    let element_bytes: HashMap<&str, u64> = objects
        .storages()
        .map(|storage| (&*storage.key, storage.kind.elt_size_in_bytes() as u64))
        .collect();
    let mut extents = HashMap::new();
    let io = |error: std::io::Error| format!("truncated within its storages: {error}");
    let mut position = file.stream_position().map_err(io)?;
    for key in keys {
        let mut elements = [0; 8];
        file.seek(SeekFrom::Start(position))
            .and_then(|_| file.read_exact(&mut elements))
            .map_err(io)?;
        let element_bytes = element_bytes
            .get(key.as_str())
            .ok_or_else(|| format!("its storage {key:?} belongs to no tensor"))?;
        let extent = u64::from_le_bytes(elements)
            .checked_mul(*element_bytes)
            .map(|bytes| Extent { start: position + 8, bytes })
            .filter(|extent| extent.bytes <= length.saturating_sub(extent.start))
            .ok_or_else(|| format!("truncated: its storage {key:?} ends beyond the file"))?;
        position = extent.start + extent.bytes;
        extents.insert(key, extent);
    }
    Ok((objects, root, Storages::new(file, length, extents, false)))
}
