//! The names that a PyTorch file may refer to, and what they mean here.

use std::rc::Rc;

use tch::Kind;

use super::Problem;
use super::names::is_harmless;
use super::objects::{Object, ObjectId, Objects};
use super::storage::{StorageRef, TensorRef};

/// A Python class or function that a file names.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Global {
    /// `OrderedDict` and the other dicts of Python's own.
    Dict,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`, which differ in later arguments.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`, and the one with attributes.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`: a subclass of tensors, or a tensor with attributes.
    RebuildFromType,
    /// Classes that are tensors and no more.
    TensorClass,
    /// A storage class, by its kind of element.
    Storage(Kind),
    /// Any other, by its name: what it makes is opaque.
    Named(Rc<str>),
}

impl Global {
    /// # Errors
    /// Names of Python's own library that are no data, naming them.
    pub(super) fn named(module: &str, name: &str) -> Result<Self, Problem> {
        Ok(match (module, name) {
            ("collections", "OrderedDict" | "defaultdict" | "Counter")
            | ("builtins" | "__builtin__", "dict") => Self::Dict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Self::RebuildParameter
            }
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("torch", "Tensor") | ("torch.nn.parameter", "Parameter" | "Buffer") => {
                Self::TensorClass
            }
            ("torch", "UntypedStorage") | ("torch.storage", "UntypedStorage") => {
                Self::Storage(Kind::Uint8)
            }
            ("torch", storage) if let Some(kind) = storage_kind(storage) => Self::Storage(kind),
            _ if is_harmless(module, name) => Self::Named(format!("{module}.{name}").into()),
            _ => {
                return Err(format!(
                    "refused: its pickle refers to {module}.{name} of Python's own library, of which \
                     only data types are read (nothing of it was run)"
                ));
            }
        })
    }

    /// As a name in messages.
    fn name(&self) -> Rc<str> {
        match self {
            Self::Named(name) => name.clone(),
            other => format!("{other:?}").into(),
        }
    }
}

/// The kind of element of `torch.…Storage`.
fn storage_kind(name: &str) -> Option<Kind> {
    Some(match name.strip_suffix("Storage")? {
        "Double" => Kind::Double,
        "Float" => Kind::Float,
        "Half" => Kind::Half,
        "BFloat16" => Kind::BFloat16,
        "Long" => Kind::Int64,
        "Int" => Kind::Int,
        "Short" => Kind::Int16,
        "Char" => Kind::Int8,
        "Byte" => Kind::Uint8,
        "Bool" => Kind::Bool,
        "ComplexFloat" => Kind::ComplexFloat,
        "ComplexDouble" => Kind::ComplexDouble,
        "QInt8" => Kind::QInt8,
        "QUInt8" => Kind::QUInt8,
        "QInt32" => Kind::QInt32,
        _ => return None,
    })
}

/// What a call gives.
pub(super) enum Called {
    New(Object),
    Existing(ObjectId),
}

/// The meaning of `callable(*arguments)`.
pub(super) fn call(
    objects: &Objects,
    callable: ObjectId,
    arguments: ObjectId,
) -> Result<Called, Problem> {
    let global = match objects.get(callable) {
        Object::Global(global) => global.clone(),
        Object::Opaque(name) => Global::Named(name.clone()),
        _ => return Err("calls something other than a named function".to_owned()),
    };
    let Some(arguments) = objects.sequence(arguments) else {
        return Err("calls a function with something other than a tuple".to_owned());
    };
    match (&global, arguments) {
        (Global::Dict, arguments) => dict(objects, arguments),
        (Global::RebuildTensor, [storage, offset, size, stride, ..]) => {
            let tensor = tensor(objects, [*storage, *offset, *size, *stride])?;
            Ok(Called::New(Object::Tensor(tensor)))
        }
        (Global::RebuildParameter, [tensor, ..]) => Ok(Called::Existing(*tensor)),
        (Global::RebuildFromType, [function, class, arguments, ..]) => {
            match objects.get(*class) {
                Object::Global(Global::TensorClass) => {}
                Object::Global(other) => return Ok(Called::New(Object::Opaque(other.name()))),
                _ => return Err("has a tensor of no class".to_owned()),
            }
            // No further than the function that makes the tensor itself: a chain of these has no end.
            match objects.get(*function) {
                Object::Global(Global::RebuildTensor | Global::RebuildParameter) => {
                    call(objects, *function, *arguments)
                }
                Object::Global(other) => Ok(Called::New(Object::Opaque(other.name()))),
                _ => Err("calls something other than a named function".to_owned()),
            }
        }
        (Global::Named(name), _) => Ok(Called::New(Object::Opaque(name.clone()))),
        _ => Err(format!("calls {global:?} with {} arguments", arguments.len())),
    }
}

/// The object that `class.__new__` makes, before it has any state.
pub(super) fn instance(objects: &Objects, class: ObjectId) -> Result<Called, Problem> {
    Ok(Called::New(match objects.get(class) {
        Object::Global(Global::Dict) => Object::Dict(Vec::new()),
        Object::Global(global) => Object::Opaque(global.name()),
        Object::Opaque(name) => Object::Opaque(name.clone()),
        _ => return Err("makes an object of something other than a class".to_owned()),
    }))
}

/// An ordered dict from nothing, or from a list of pairs as Python 2 wrote it; a default dict from the
/// function that makes its values; a counter from a dict.
fn dict(objects: &Objects, arguments: &[ObjectId]) -> Result<Called, Problem> {
    let Some(first) = arguments.first() else {
        return Ok(Called::New(Object::Dict(Vec::new())));
    };
    match objects.get(*first) {
        Object::Dict(_) => Ok(Called::Existing(*first)),
        Object::List(pairs) | Object::Tuple(pairs) => {
            let entry = |pair: &ObjectId| match objects.sequence(*pair) {
                Some([key, value]) => Ok((*key, *value)),
                _ => Err("has an ordered dict of something other than pairs".to_owned()),
            };
            let entries = pairs.iter().map(entry).collect::<Result<_, _>>()?;
            Ok(Called::New(Object::Dict(entries)))
        }
        Object::None | Object::Global(_) | Object::Opaque(_) => {
            Ok(Called::New(Object::Dict(Vec::new())))
        }
        _ => Err("has a dict of something other than pairs".to_owned()),
    }
}

fn tensor(
    objects: &Objects,
    [storage, offset, size, stride]: [ObjectId; 4],
) -> Result<TensorRef, Problem> {
    let Object::Storage(storage) = objects.get(storage) else {
        return Err("has a tensor without a storage".to_owned());
    };
    let integers = |id: ObjectId| -> Option<Vec<i64>> {
        let members = objects.sequence(id).filter(|members| members.len() <= MAX_DIMENSIONS)?;
        members.iter().map(|member| objects.integer(*member)).collect()
    };
    let (Some(offset), Some(size), Some(stride)) =
        (objects.integer(offset), integers(size), integers(stride))
    else {
        return Err(format!(
            "has a tensor whose shape is not of whole numbers, at most {MAX_DIMENSIONS}"
        ));
    };
    Ok(TensorRef { storage: storage.clone(), offset, size, stride })
}

/// libtorch's own limit.
const MAX_DIMENSIONS: usize = 64;

/// What a persistent id stands for: the storage `("storage", class, key, device, elements[, view])`, or
/// in the older container the class `("module", class, file, source)`.
pub(super) fn persistent(objects: &Objects, id: ObjectId) -> Result<Called, Problem> {
    let problem = || "has a storage reference of an unknown form".to_owned();
    let [tag, class, rest @ ..] = objects.sequence(id).ok_or_else(problem)? else {
        return Err(problem());
    };
    if objects.text(*tag) == Some("module") {
        return Ok(Called::Existing(*class));
    }
    let [key, _device, elements, view @ ..] = rest else { return Err(problem()) };
    let kind = match objects.get(*class) {
        Object::Global(Global::Storage(kind)) => *kind,
        Object::Global(Global::Named(name)) => {
            return Err(format!("has a storage of the kind {name}, which is not read"));
        }
        _ => return Err(problem()),
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
    let storage = StorageRef {
        key: objects.name(*key)?.into(),
        kind,
        elements: objects.integer(*elements).ok_or_else(problem)?,
        view_offset,
    };
    Ok(Called::New(Object::Storage(storage)))
}
