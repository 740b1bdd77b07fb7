//! What the calls of a pickle mean here: nothing of them is run.

use super::globals::Global;
use super::objects::{Object, ObjectId, Objects};
use super::problem::Problem;
use super::storage::{StorageRef, TensorRef};

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
