//! PyTorch's zip container (since 1.6): `NAME/data.pkl`, `NAME/data/KEY`, `NAME/byteorder`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use sib_core::{Error, Result};
use zip::{CompressionMethod, ZipArchive};

use super::container::open_file;
use super::objects::{ObjectId, Objects};
use super::pickle;
use super::problem::Problem;
use super::storage::{Extent, Storages};

type Opened = (Objects, ObjectId, Storages<BufReader<File>>);

/// Reads the structure of the file; its storages are read when asked for.
pub(super) fn open(path: &Path) -> Result<Opened> {
    let (file, length) = open_file(path)?;
    let second = open_file(path)?.0;
    read(file, second, length).map_err(|problem| Error::malformed(path, problem))
}

fn read(
    file: BufReader<File>,
    for_storages: BufReader<File>,
    length: u64,
) -> Result<Opened, Problem> {
    let damaged = |error: zip::result::ZipError| format!("truncated or damaged zip file: {error}");
    let mut archive = ZipArchive::new(file).map_err(damaged)?;

    // Before anything else: programs come with compressed members.
    if let Some(program) = program(|end| archive.file_names().any(|name| name.ends_with(end))) {
        return Err(program.to_owned());
    }
    let mut pickle_name = None;
    let mut extents = HashMap::new();
    let mut total_bytes = 0_u64;
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i).map_err(damaged)?;
        let name = entry.name().to_owned();
        // PyTorch stores everything as it is. Without decompression, and with entries that do not
        // share bytes, nothing can grow beyond the file.
        if entry.compression() != CompressionMethod::Stored
            || entry.size() != entry.compressed_size()
        {
            return Err(format!(
                "refused: {name:?} in it is compressed, as PyTorch never writes it"
            ));
        }
        total_bytes = total_bytes.saturating_add(entry.size());
        if total_bytes > length {
            return Err("refused: its entries overlap, as in a zip bomb".to_owned());
        }
        if name == "data.pkl" || name.ends_with("/data.pkl") {
            if let Some(other) = pickle_name.replace(name.clone()) {
                return Err(format!("refused: {other:?} and {name:?} are both its pickle"));
            }
        } else {
            extents.insert(name, Extent { start: entry.data_start(), bytes: entry.size() });
        }
    }
    let Some(pickle_name) = pickle_name else {
        return Err("a zip file, but not one of PyTorch: it has no data.pkl".to_owned());
    };
    let folder = pickle_name.trim_end_matches("data.pkl");

    let mut byte_order = String::new();
    let byte_order_name = format!("{folder}byteorder");
    if extents.contains_key(&byte_order_name) {
        let entry = archive.by_name(&byte_order_name).map_err(damaged)?;
        entry.take(16).read_to_string(&mut byte_order).map_err(|error| error.to_string())?;
    }
    let data = format!("{folder}data/");
    let extents = extents
        .into_iter()
        .filter_map(|(name, extent)| Some((name.strip_prefix(&data)?.to_owned(), extent)))
        .collect();
    let entry = archive.by_name(&pickle_name).map_err(damaged)?;
    let (objects, root) = pickle::read(BufReader::new(entry))?;
    Ok((objects, root, Storages::new(for_storages, length, extents, byte_order == "big")))
}

/// The program that a zip file is, by the ends of its members' names, with what makes a state dict of it in
/// Python.
fn program(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    if has("serialized_exported_program.json") || has("/archive_format") {
        return Some(
            "a program of torch.export, expected a state dict; in Python: \
             torch.save(torch.export.load(\"IN.pt2\").state_dict, \"OUT.pth\")",
        );
    }
    (has("constants.pkl") || has("/model.json")).then_some(
        "a TorchScript program, expected a state dict; in Python: \
         torch.save(torch.jit.load(\"IN.pt\", map_location=\"cpu\").state_dict(), \"OUT.pth\")",
    )
}
