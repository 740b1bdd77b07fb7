//! The names that a PyTorch file may refer to, and what they mean here.

use tch::Kind;

use super::Problem;
use super::pickle::{Object, ObjectId, Objects};
use super::storage::{StorageRef, TensorRef};

/// The only Python classes and functions that a file may name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`, which differ in later arguments.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`.
    RebuildParameter,
    /// A storage class, by its kind of element.
    Storage(Kind),
}

impl Global {
    /// # Errors
    /// Every name that is not on the list, naming it.
    pub(super) fn named(module: &str, name: &str) -> Result<Self, Problem> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "DoubleStorage") => Self::Storage(Kind::Double),
            ("torch", "FloatStorage") => Self::Storage(Kind::Float),
            ("torch", "HalfStorage") => Self::Storage(Kind::Half),
            ("torch", "BFloat16Storage") => Self::Storage(Kind::BFloat16),
            ("torch", "LongStorage") => Self::Storage(Kind::Int64),
            ("torch", "IntStorage") => Self::Storage(Kind::Int),
            ("torch", "ShortStorage") => Self::Storage(Kind::Int16),
            ("torch", "CharStorage") => Self::Storage(Kind::Int8),
            ("torch", "ByteStorage") => Self::Storage(Kind::Uint8),
            ("torch", "BoolStorage") => Self::Storage(Kind::Bool),
            _ => {
                return Err(format!(
                    "refused: its pickle refers to {module}.{name}, and only tensors, storages and \
                     ordered dicts are read (nothing of it was run)"
                ));
            }
        })
    }
}

/// What a call gives.
pub(super) enum Called {
    New(Object),
    Existing(ObjectId),
}

/// The meaning of `callable(*arguments)`.
pub(super) fn call(
    objects: &mut Objects,
    callable: ObjectId,
    arguments: ObjectId,
) -> Result<Called, Problem> {
    let Object::Global(global) = *objects.get(callable) else {
        return Err("calls something other than a named function".to_owned());
    };
    let Some(arguments) = objects.sequence(arguments) else {
        return Err("calls a function with something other than a tuple".to_owned());
    };
    match (global, arguments) {
        (Global::OrderedDict, []) => Ok(Called::New(Object::Dict(Vec::new()))),
        // An ordered dict from a list of pairs, as Python 2 wrote it.
        (Global::OrderedDict, [pairs]) => {
            let pairs = objects.sequence(*pairs).unwrap_or_default();
            let entry = |pair: &ObjectId| match objects.sequence(*pair) {
                Some([key, value]) => Ok((*key, *value)),
                _ => Err("has an ordered dict of something other than pairs".to_owned()),
            };
            let entries = pairs.iter().map(entry).collect::<Result<_, _>>()?;
            Ok(Called::New(Object::Dict(entries)))
        }
        (Global::RebuildTensor, [storage, offset, size, stride, ..]) => {
            let Object::Storage(storage) = objects.get(*storage) else {
                return Err("has a tensor without a storage".to_owned());
            };
            let integers = |id: &ObjectId| -> Option<Vec<i64>> {
                objects.sequence(*id)?.iter().map(|member| objects.integer(*member)).collect()
            };
            let (Some(offset), Some(size), Some(stride)) =
                (objects.integer(*offset), integers(size), integers(stride))
            else {
                return Err("has a tensor whose shape is not of whole numbers".to_owned());
            };
            let tensor = TensorRef { storage: storage.clone(), offset, size, stride };
            Ok(Called::New(Object::Tensor(tensor)))
        }
        (Global::RebuildParameter, [tensor, ..]) => Ok(Called::Existing(*tensor)),
        _ => Err(format!("calls {global:?} with {} arguments", arguments.len())),
    }
}

/// The storage that a persistent id stands for:
/// `("storage", class, key, device, elements[, view])`.
pub(super) fn storage(objects: &Objects, id: ObjectId) -> Result<StorageRef, Problem> {
    let problem = || "has a storage reference of an unknown form".to_owned();
    let [tag, class, key, _device, elements, view @ ..] =
        objects.sequence(id).ok_or_else(problem)?
    else {
        return Err(problem());
    };
    let Object::Global(Global::Storage(kind)) = *objects.get(*class) else {
        return Err(problem());
    };
    if objects.text(*tag) != Some("storage") {
        return Err(problem());
    }
    // The older container may hold a storage that is part of another one: (key, offset, elements).
    let view_offset = match view.first().map(|view| objects.get(*view)) {
        None | Some(Object::None) => 0,
        Some(Object::Tuple(view)) => match view[..] {
            [_, offset, _] => objects.integer(offset).ok_or_else(problem)?,
            _ => return Err(problem()),
        },
        Some(_) => return Err(problem()),
    };
    Ok(StorageRef {
        key: objects.text(*key).ok_or_else(problem)?.to_owned(),
        kind,
        elements: objects.integer(*elements).ok_or_else(problem)?,
        view_offset,
    })
}
