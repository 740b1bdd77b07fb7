//! A stack machine for the part of the pickle protocol that PyTorch's files use
//! (<https://docs.python.org/3/library/pickle.html>, `pickletools`).
//!
//! It builds plain data and calls nothing: the few callables that PyTorch's files name are
//! interpreted in [`globals`](super::globals), and every other name is refused where it is met.
//! Objects live in one list and refer to each other by index, so that neither deep nor cyclic
//! structures can exhaust the stack, and shared parts are never copied.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};

use super::globals::Global;
use super::storage::{StorageRef, TensorRef};
use super::{Problem, globals};

/// A state dict with its optimizer has some ten thousand objects.
const MAX_OBJECTS: usize = 1 << 20;
/// Pickles hold the structure only, never the weights: 12 KB for a ResNet-18.
const MAX_BYTES: u64 = 16 << 20;

/// Index of an object in [`Objects`].
pub(super) type ObjectId = usize;

/// What a pickle can build here.
#[derive(Debug)]
pub(super) enum Object {
    None,
    /// A value that no weight depends on: a truth value, a float or bytes.
    Other,
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
}

impl Objects {
    pub(super) fn get(&self, id: ObjectId) -> &Object {
        &self.list[id]
    }

    pub(super) fn text(&self, id: ObjectId) -> Option<&str> {
        match self.get(id) {
            Object::Text(text) => Some(text),
            _ => None,
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

/// Reads one pickle from `input`, which is left behind its last byte.
pub(super) fn read(input: impl Read) -> Result<(Objects, ObjectId), Problem> {
    Machine {
        input,
        bytes_left: MAX_BYTES,
        objects: Objects::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    }
    .run()
}

struct Machine<R> {
    input: R,
    bytes_left: u64,
    objects: Objects,
    stack: Vec<ObjectId>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, ObjectId>,
}

impl<R: Read> Machine<R> {
    fn run(mut self) -> Result<(Objects, ObjectId), Problem> {
        loop {
            match self.byte()? {
                b'.' => {
                    let root = self.pop()?;
                    return Ok((self.objects, root));
                }
                opcode => self.step(opcode)?,
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Problem> {
        match opcode {
            // Protocol version and frame length: no effect.
            0x80 => self.byte().map(drop),
            0x95 => self.array::<8>().map(drop),

            b'N' => self.push(Object::None),
            0x88 | 0x89 => self.push(Object::Other),
            b'K' => {
                let value = self.byte()?;
                self.push(Object::Int(value.into()))
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Object::Int(value.into()))
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Object::Int(value.into()))
            }
            0x8a => self.long(),
            b'G' => self.skip_bytes(size_of::<f64>() as u64),

            0x8c | b'U' => {
                let length = self.byte()?;
                self.push_text(length.into())
            }
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.array()?);
                self.push_text(length.into())
            }
            0x8d => {
                let length = u64::from_le_bytes(self.array()?);
                self.push_text(length)
            }
            b'C' => {
                let length = self.byte()?;
                self.skip_bytes(length.into())
            }
            b'B' => {
                let length = u32::from_le_bytes(self.array()?);
                self.skip_bytes(length.into())
            }
            0x8e | 0x96 => {
                let length = u64::from_le_bytes(self.array()?);
                self.skip_bytes(length)
            }

            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.pop_to_mark().map(drop),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }

            b')' => self.push(Object::Tuple(Vec::new())),
            b't' => {
                let members = self.pop_to_mark()?;
                self.push(Object::Tuple(members))
            }
            0x85..=0x87 => {
                let length = usize::from(opcode - 0x84);
                let members = self.pop_many(length)?;
                self.push(Object::Tuple(members))
            }
            b']' => self.push(Object::List(Vec::new())),
            b'l' => {
                let members = self.pop_to_mark()?;
                self.push(Object::List(members))
            }
            b'a' => {
                let member = self.pop()?;
                self.extend_list(vec![member])
            }
            b'e' => {
                let members = self.pop_to_mark()?;
                self.extend_list(members)
            }
            b'}' => self.push(Object::Dict(Vec::new())),
            b'd' => {
                let members = self.pop_to_mark()?;
                self.push(Object::Dict(Vec::new()))?;
                self.extend_dict(&members)
            }
            b's' => {
                let entry = self.pop_many(2)?;
                self.extend_dict(&entry)
            }
            b'u' => {
                let members = self.pop_to_mark()?;
                self.extend_dict(&members)
            }

            b'q' => {
                let key = self.byte()?;
                self.memoize(key.into())
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.memoize(key)
            }
            0x94 => self.memoize(self.memo.len() as u32),
            b'h' => {
                let key = self.byte()?;
                self.recall(key.into())
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key)
            }

            b'c' | b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let global = Global::named(&module, &name)?;
                if opcode == b'i' {
                    return Err(format!("builds a {module}.{name} by opcode INST: refused"));
                }
                self.push(Object::Global(global))
            }
            0x93 => {
                let parts = self.pop_many(2)?;
                let [Some(module), Some(name)] =
                    [parts[0], parts[1]].map(|id| self.objects.text(id))
                else {
                    return Err("names a global by something other than text".to_owned());
                };
                let global = Global::named(module, name)?;
                self.push(Object::Global(global))
            }
            b'R' => {
                let call = self.pop_many(2)?;
                let result = globals::call(&mut self.objects, call[0], call[1])?;
                match result {
                    globals::Called::Existing(id) => {
                        self.stack.push(id);
                        Ok(())
                    }
                    globals::Called::New(object) => self.push(object),
                }
            }
            // Attributes of an object, such as a state dict's `_metadata`: no weights.
            b'b' => self.pop().map(drop),
            b'Q' => {
                let id = self.pop()?;
                let storage = globals::storage(&self.objects, id)?;
                self.push(Object::Storage(storage))
            }
            other => Err(format!("has the pickle opcode 0x{other:02x}, which no state dict needs")),
        }
    }

    fn push(&mut self, object: Object) -> Result<(), Problem> {
        if self.objects.list.len() == MAX_OBJECTS {
            return Err(format!("holds more than {MAX_OBJECTS} objects"));
        }
        self.stack.push(self.objects.list.len());
        self.objects.list.push(object);
        Ok(())
    }

    fn push_text(&mut self, length: u64) -> Result<(), Problem> {
        let text = String::from_utf8(self.bytes(length)?)
            .map_err(|_| "has a text that is not UTF-8".to_owned())?;
        self.push(Object::Text(text))
    }

    fn skip_bytes(&mut self, length: u64) -> Result<(), Problem> {
        self.bytes(length)?;
        self.push(Object::Other)
    }

    /// A little-endian two's-complement number of a given length.
    fn long(&mut self) -> Result<(), Problem> {
        let length = self.byte()?;
        let bytes = self.bytes(length.into())?;
        if bytes.len() > size_of::<i128>() {
            return Err("has a whole number of more than 128 bits".to_owned());
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; size_of::<i128>()];
        wide[..bytes.len()].copy_from_slice(&bytes);
        self.push(Object::Int(i128::from_le_bytes(wide)))
    }

    fn top(&self) -> Result<ObjectId, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..].last().copied().ok_or_else(empty_stack)
    }

    fn pop(&mut self) -> Result<ObjectId, Problem> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<ObjectId>, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= floor => Ok(self.stack.split_off(start)),
            _ => Err(empty_stack()),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<ObjectId>, Problem> {
        let start = self.marks.pop().ok_or_else(empty_stack)?;
        Ok(self.stack.split_off(start))
    }

    fn extend_list(&mut self, members: Vec<ObjectId>) -> Result<(), Problem> {
        let list = self.top()?;
        match &mut self.objects.list[list] {
            Object::List(list) => {
                list.extend(members);
                Ok(())
            }
            _ => Err("appends to something other than a list".to_owned()),
        }
    }

    fn extend_dict(&mut self, members: &[ObjectId]) -> Result<(), Problem> {
        let dict = self.top()?;
        match &mut self.objects.list[dict] {
            Object::Dict(entries) if members.len().is_multiple_of(2) => {
                entries.extend(members.chunks_exact(2).map(|entry| (entry[0], entry[1])));
                Ok(())
            }
            _ => Err("sets items of something other than a dict".to_owned()),
        }
    }

    fn memoize(&mut self, key: u32) -> Result<(), Problem> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), Problem> {
        let id = self.memo.get(&key).ok_or("recalls an object that it never kept")?;
        self.stack.push(*id);
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        self.spend(N as u64)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => truncated(),
            _ => error.to_string(),
        })?;
        Ok(bytes)
    }

    /// Allocates no more than the input really has.
    fn bytes(&mut self, length: u64) -> Result<Vec<u8>, Problem> {
        self.spend(length)?;
        let mut bytes = Vec::new();
        let got = self.input.by_ref().take(length).read_to_end(&mut bytes);
        match got.map_err(|error| error.to_string())? as u64 {
            got if got == length => Ok(bytes),
            _ => Err(truncated()),
        }
    }

    /// A line of text without its end.
    fn line(&mut self) -> Result<String, Problem> {
        let mut bytes = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => break,
                byte => bytes.push(byte),
            }
        }
        String::from_utf8(bytes).map_err(|_| "has a name that is not UTF-8".to_owned())
    }

    fn spend(&mut self, bytes: u64) -> Result<(), Problem> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or_else(|| {
            format!("its structure alone takes more than {} MiB", MAX_BYTES >> 20)
        })?;
        Ok(())
    }
}

fn truncated() -> Problem {
    "is truncated: it ends within its pickle".to_owned()
}

fn empty_stack() -> Problem {
    "is damaged: its pickle takes more from the stack than it put there".to_owned()
}
