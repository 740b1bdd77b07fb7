//! What a pickle builds here: plain data in one list, whose parts refer to each other by index, so that
//! neither deep nor cyclic structures can exhaust the stack, and shared parts are never copied.

use std::rc::Rc;

use super::globals::Global;
use super::problem::Problem;
use super::storage::{StorageRef, TensorRef};

/// A state dict with its optimizer has some ten thousand objects.
const MAX_OBJECTS: usize = 1 << 20;
/// Members of all containers together. A call may copy a container that is named once and used over and
/// over: without this bound a few bytes of a pickle would cost megabytes.
const MAX_MEMBERS: usize = 1 << 22;
/// Longest text that is used as a key or a name, and so copied.
pub(super) const MAX_NAME_BYTES: usize = 1024;

/// Index of an object in [`Objects`].
pub(super) type ObjectId = usize;

/// What a pickle can build here.
#[derive(Debug)]
pub(super) enum Object {
    None,
    /// A value that no weight depends on: a truth value, a float or bytes.
    Other,
    /// An object of a class, or the result of a function, that is not interpreted; by its name.
    Opaque(Rc<str>),
    /// Wide enough for the number that marks the older container.
    Int(i128),
    Text(String),
    Tuple(Vec<ObjectId>),
    List(Vec<ObjectId>),
    Dict(Vec<(ObjectId, ObjectId)>),
    Global(Global),
    Storage(StorageRef),
    Tensor(TensorRef),
}

/// All objects of one pickle.
#[derive(Debug, Default)]
pub(super) struct Objects {
    list: Vec<Object>,
    members: usize,
}

impl Objects {
    pub(super) fn get(&self, id: ObjectId) -> &Object {
        &self.list[id]
    }

    /// # Errors
    /// There are too many objects.
    pub(super) fn add(&mut self, object: Object) -> Result<ObjectId, Problem> {
        if self.list.len() == MAX_OBJECTS {
            return Err(format!("holds more than {MAX_OBJECTS} objects"));
        }
        let members = match &object {
            Object::Tuple(members) | Object::List(members) => members.len(),
            Object::Dict(entries) => entries.len(),
            Object::Tensor(tensor) => tensor.size.len() + tensor.stride.len(),
            _ => 0,
        };
        self.count(members)?;
        self.list.push(object);
        Ok(self.list.len() - 1)
    }

    /// # Errors
    /// There are too many members, or `list` is something else.
    pub(super) fn extend_list(
        &mut self,
        list: ObjectId,
        members: Vec<ObjectId>,
    ) -> Result<(), Problem> {
        self.count(members.len())?;
        match &mut self.list[list] {
            Object::List(list) => list.extend(members),
            // A list's subclass, whose members nobody asks for.
            Object::Opaque(_) => {}
            _ => return Err("appends to something other than a list".to_owned()),
        }
        Ok(())
    }

    /// Sets items: `members` are keys and values in turn.
    ///
    /// # Errors
    /// There are too many members, or `dict` is something else.
    pub(super) fn extend_dict(
        &mut self,
        dict: ObjectId,
        members: &[ObjectId],
    ) -> Result<(), Problem> {
        self.count(members.len() / 2)?;
        match &mut self.list[dict] {
            Object::Dict(entries) if members.len().is_multiple_of(2) => {
                entries.extend(members.chunks_exact(2).map(|entry| (entry[0], entry[1])));
            }
            // A dict's subclass, whose items nobody asks for.
            Object::Opaque(_) if members.len().is_multiple_of(2) => {}
            _ => return Err("sets items of something other than a dict".to_owned()),
        }
        Ok(())
    }

    fn count(&mut self, members: usize) -> Result<(), Problem> {
        self.members += members;
        if self.members > MAX_MEMBERS {
            return Err(format!("refused: its containers have more than {MAX_MEMBERS} members"));
        }
        Ok(())
    }

    pub(super) fn text(&self, id: ObjectId) -> Option<&str> {
        match self.get(id) {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text that may be copied: a key or the name of something.
    ///
    /// # Errors
    /// It is no text, or a long one.
    pub(super) fn name(&self, id: ObjectId) -> Result<&str, Problem> {
        match self.text(id) {
            Some(text) if text.len() <= MAX_NAME_BYTES => Ok(text),
            Some(_) => Err(format!("has a name of more than {MAX_NAME_BYTES} bytes")),
            None => Err("names something by an object other than text".to_owned()),
        }
    }

    /// A whole number that fits in 64 bits.
    pub(super) fn integer(&self, id: ObjectId) -> Option<i64> {
        match self.get(id) {
            Object::Int(value) => i64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A tuple's or list's members.
    pub(super) fn sequence(&self, id: ObjectId) -> Option<&[ObjectId]> {
        match self.get(id) {
            Object::Tuple(members) | Object::List(members) => Some(members),
            _ => None,
        }
    }

    pub(super) fn storages(&self) -> impl Iterator<Item = &StorageRef> {
        self.list.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(storage),
            _ => None,
        })
    }
}
