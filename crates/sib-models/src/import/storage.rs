//! Storages, the flat arrays of a PyTorch file, and the tensors that are views of them.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::rc::Rc;

use tch::{Kind, Tensor};

use super::problem::Problem;

/// A storage as the pickle refers to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StorageRef {
    pub(super) key: Rc<str>,
    pub(super) kind: Kind,
    /// Number of elements.
    pub(super) elements: i64,
    /// First element of the part that is meant.
    pub(super) view_offset: i64,
}

/// A tensor as the pickle describes it; offset and strides in elements.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorRef {
    pub(super) storage: StorageRef,
    pub(super) offset: i64,
    pub(super) size: Vec<i64>,
    pub(super) stride: Vec<i64>,
}

/// Where the bytes of a storage lie in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) bytes: u64,
}

/// The storages of a file, read when a tensor first asks for one.
#[derive(Debug)]
pub(super) struct Storages<R> {
    file: R,
    extents: HashMap<String, Extent>,
    big_endian: bool,
    /// Most elements that a tensor may have; see [`Self::new`].
    max_elements: u64,
    read: HashMap<Rc<str>, Tensor>,
}

impl<R: Read + Seek> Storages<R> {
    /// The extents lie within the file and do not overlap, which bounds what can be read. Views can
    /// repeat elements without end: none may have more of them than the file has bytes.
    pub(super) fn new(
        file: R,
        file_bytes: u64,
        extents: HashMap<String, Extent>,
        big_endian: bool,
    ) -> Self {
        Self { file, extents, big_endian, max_elements: file_bytes, read: HashMap::new() }
    }

    /// The tensor, a view of its storage, which is converted to f32 if it holds other floats.
    pub(super) fn tensor(&mut self, tensor: &TensorRef) -> Result<Tensor, Problem> {
        let storage = self.storage(&tensor.storage)?;
        let numel = storage.size()[0];
        let offset = tensor.storage.view_offset.checked_add(tensor.offset);
        let (Some(offset), Some(reach)) = (offset, reach(&tensor.size, &tensor.stride)) else {
            return Err("has a negative or too large size, stride or offset".to_owned());
        };
        if offset < 0 || offset.checked_add(reach).is_none_or(|end| end > numel) {
            return Err(format!(
                "reaches beyond its storage of {numel} elements: offset {offset}, size {:?}, \
                 stride {:?}",
                tensor.size, tensor.stride
            ));
        }
        let numel = tensor.size.iter().try_fold(1_u64, |n, side| n.checked_mul(*side as u64));
        if numel.is_none_or(|numel| numel > self.max_elements) {
            return Err(format!(
                "refused: of size {:?}, it has more elements than the file has bytes",
                tensor.size
            ));
        }
        storage
            .f_as_strided(&tensor.size, &tensor.stride, offset)
            .map_err(|error| error.to_string())
    }

    fn storage(&mut self, wanted: &StorageRef) -> Result<Tensor, Problem> {
        let key = &wanted.key;
        if let Some(storage) = self.read.get(&**key) {
            return Ok(storage.shallow_clone());
        }
        if !is_real(wanted.kind) {
            return Err(format!("holds {:?} numbers, expected real ones", wanted.kind));
        }
        let extent =
            *self.extents.get(&**key).ok_or(format!("its storage {key:?} is not there"))?;
        let element_bytes = wanted.kind.elt_size_in_bytes();
        let elements = extent.bytes / element_bytes as u64;
        if extent.bytes % element_bytes as u64 != 0
            || i64::try_from(elements) != Ok(wanted.elements)
        {
            return Err(format!(
                "its storage {key:?} has {} bytes, which are not {} elements of {element_bytes}",
                extent.bytes, wanted.elements
            ));
        }
        let mut bytes = vec![0; extent.bytes as usize];
        self.file
            .seek(SeekFrom::Start(extent.start))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|error| format!("its storage {key:?}: {error}"))?;
        if self.big_endian {
            bytes.chunks_exact_mut(element_bytes).for_each(<[u8]>::reverse);
        }
        if wanted.kind == Kind::Bool {
            // A C++ bool must hold 0 or 1; a file may hold anything.
            bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
        }
        let storage = Tensor::f_from_data_size(&bytes, &[wanted.elements], wanted.kind)
            .map_err(|error| error.to_string())?;
        let storage = single_precision(storage);
        self.read.insert(key.clone(), storage.shallow_clone());
        Ok(storage)
    }
}

fn is_real(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::ComplexHalf
            | Kind::ComplexFloat
            | Kind::ComplexDouble
            | Kind::QInt8
            | Kind::QUInt8
            | Kind::QInt32
    )
}

/// Number of elements from a view's first to its last, both included; `None` for negative sizes or
/// strides, too many dimensions, or on overflow.
fn reach(size: &[i64], stride: &[i64]) -> Option<i64> {
    if size.len() != stride.len() || size.len() > 64 {
        return None;
    }
    if size.iter().chain(stride).any(|&number| number < 0) {
        return None;
    }
    if size.contains(&0) {
        return Some(0);
    }
    size.iter().zip(stride).try_fold(1_i64, |reach, (size, stride)| {
        reach.checked_add((size - 1).checked_mul(*stride)?)
    })
}

/// Floating-point elements as f32; others as they are.
pub(super) fn single_precision(tensor: Tensor) -> Tensor {
    match tensor.kind() {
        Kind::Half | Kind::BFloat16 | Kind::Double => tensor.to_kind(Kind::Float),
        _ => tensor,
    }
}
