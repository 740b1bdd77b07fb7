//! Named tensors and a string map in one safetensors file
//! (<https://huggingface.co/docs/safetensors>).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

use super::atomic::write_atomic;
use crate::{Error, Result, plain_file};

/// The kinds of element that both libtorch and the format have.
const KINDS: [(Kind, Dtype); 10] = [
    (Kind::Double, Dtype::F64),
    (Kind::Float, Dtype::F32),
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Int64, Dtype::I64),
    (Kind::Int, Dtype::I32),
    (Kind::Int16, Dtype::I16),
    (Kind::Int8, Dtype::I8),
    (Kind::Uint8, Dtype::U8),
    (Kind::Bool, Dtype::BOOL),
];

/// Largest header that is read. Those of the largest public checkpoints stay below 1 MiB.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// libtorch's own limit on element-wise operations.
const MAX_DIMENSIONS: usize = 64;

/// Bytes of the header's length at the start of the file, and the header's alignment.
const LENGTH_BYTES: usize = 8;

/// Writes `tensors` and the string map `metadata`, replacing `path` atomically.
///
/// The bytes depend on the arguments alone. The metadata gets `format = "pt"`, which Python tools
/// ask for.
///
/// # Errors
/// The file cannot be written, or a tensor's kind has no safetensors name.
pub fn write_tensors(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let mut entries = tensors
        .iter()
        .map(|(name, tensor)| {
            let kind = tensor.kind();
            let Some((_, dtype)) = KINDS.into_iter().find(|(known, _)| *known == kind) else {
                let problem = format!("tensor {name:?}: cannot store elements of {kind:?}");
                return Err(Error::malformed(path, problem));
            };
            Ok((name, tensor, dtype))
        })
        .collect::<Result<Vec<_>>>()?;
    // Wider elements first keeps every tensor aligned; the sort is stable, so then by name.
    entries.sort_by_key(|(_, _, dtype)| std::cmp::Reverse(*dtype));

    let mut header = Map::new();
    let mut strings = metadata.clone();
    strings.insert("format".to_owned(), "pt".to_owned());
    header.insert("__metadata__".to_owned(), json!(strings));
    let mut start = 0;
    for (name, tensor, dtype) in &entries {
        let end = start + tensor.numel() * tensor.kind().elt_size_in_bytes();
        let entry = json!({ "dtype": dtype.to_string(), "shape": tensor.size(), "data_offsets": [start, end] });
        header.insert((*name).clone(), entry);
        start = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(LENGTH_BYTES), b' ');

    write_atomic(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for (_, tensor, _) in &entries {
            file.write_all(&bytes_of(tensor)?)?;
        }
        Ok(())
    })
}

/// The string map of a safetensors file; reads its header only. Empty where it has none.
///
/// # Errors
/// The file cannot be read or is not a safetensors file.
pub fn read_metadata(path: &Path) -> Result<BTreeMap<String, String>> {
    let (_, metadata) = open(path)?;
    Ok(strings_of(&metadata))
}

/// All tensors (on the CPU) and the string map of a safetensors file.
///
/// Memory stays within that of the tensors plus the largest of them once more.
///
/// # Errors
/// The file cannot be read, is damaged, or holds a kind of element that libtorch lacks.
pub fn read_tensors(path: &Path) -> Result<(BTreeMap<String, Tensor>, BTreeMap<String, String>)> {
    let (mut file, metadata) = open(path)?;
    let mut tensors = BTreeMap::new();
    for name in metadata.offset_keys() {
        if let Some(info) = metadata.info(&name) {
            let tensor = read_tensor(path, &mut file, &name, info)?;
            tensors.insert(name, tensor);
        }
    }
    Ok((tensors, strings_of(&metadata)))
}

/// Opens a safetensors file and checks its header against itself and the file's length, before
/// anything of the header's own claims is allocated. The file is left at the first tensor's bytes.
fn open(path: &Path) -> Result<(File, Metadata)> {
    let mut file = plain_file::open(path).map_err(Error::io("read", path))?;
    let file_bytes = file.metadata().map_err(Error::io("read", path))?.len();
    let not_safetensors = |problem: String| Error::NotACheckpoint {
        path: path.to_owned(),
        problem: format!("not a safetensors file: {problem}"),
    };

    let mut length = [0; LENGTH_BYTES];
    file.read_exact(&mut length).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => not_safetensors("shorter than 8 bytes".to_owned()),
        _ => Error::io("read", path)(error),
    })?;
    let header_bytes = u64::from_le_bytes(length);
    let available = file_bytes.saturating_sub(LENGTH_BYTES as u64);
    if header_bytes > available.min(MAX_HEADER_BYTES) {
        return Err(not_safetensors(format!(
            "its first 8 bytes announce a header of {header_bytes} bytes, but {available} follow"
        )));
    }
    let mut header = vec![0; header_bytes as usize];
    file.read_exact(&mut header).map_err(Error::io("read", path))?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| not_safetensors(format!("header: {error}")))?;

    let data_bytes = available - header_bytes;
    if metadata.data_len() as u64 != data_bytes {
        return Err(Error::malformed(
            path,
            format!(
                "truncated or damaged: the header describes {} bytes of tensors, the file has {}",
                metadata.data_len(),
                data_bytes
            ),
        ));
    }
    file.seek(SeekFrom::Start(LENGTH_BYTES as u64 + header_bytes))
        .map_err(Error::io("read", path))?;
    Ok((file, metadata))
}

/// The next tensor of `file`, whose bytes `info` has been checked to lie within it.
fn read_tensor(path: &Path, file: &mut File, name: &str, info: &TensorInfo) -> Result<Tensor> {
    let Some((kind, _)) = KINDS.into_iter().find(|(_, dtype)| *dtype == info.dtype) else {
        let problem = format!("tensor {name:?}: cannot read elements of {}", info.dtype);
        return Err(Error::malformed(path, problem));
    };
    let size =
        info.shape.iter().map(|&length| i64::try_from(length)).collect::<Result<Vec<_>, _>>();
    let Some(size) = size.ok().filter(|size| size.len() <= MAX_DIMENSIONS) else {
        return Err(Error::malformed(path, format!("tensor {name:?}: shape out of range")));
    };
    let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
    file.read_exact(&mut bytes).map_err(Error::io("read", path))?;
    if kind == Kind::Bool {
        // A C++ bool must hold 0 or 1; a file may hold anything.
        bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
    }
    Ok(Tensor::f_from_data_size(&bytes, &size, kind)?)
}

fn strings_of(metadata: &Metadata) -> BTreeMap<String, String> {
    metadata.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The elements in row-major order.
fn bytes_of(tensor: &Tensor) -> io::Result<Vec<u8>> {
    let numel = tensor.numel();
    let mut bytes = vec![0; numel * tensor.kind().elt_size_in_bytes()];
    tensor
        .detach()
        .to_device(Device::Cpu)
        .f_copy_data_u8(&mut bytes, numel)
        .map_err(io::Error::other)?;
    Ok(bytes)
}
