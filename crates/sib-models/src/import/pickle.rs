//! A stack machine for the pickle protocol, versions 2 to 5
//! (<https://docs.python.org/3/library/pickle.html>, `pickletools`).
//!
//! It builds plain data and calls nothing: the few callables that make tensors and dicts are
//! interpreted in [`calls`](super::calls); what others would make stays an opaque object of their
//! name.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};

use super::calls::{self, Called};
use super::globals::Global;
use super::objects::{MAX_NAME_BYTES, Object, ObjectId, Objects};
use super::problem::Problem;

/// Pickles hold the structure only, never the weights: 12 KB for a ResNet-18.
const MAX_BYTES: u64 = 16 << 20;
/// Objects on the stack, and objects kept for later use: a byte of the pickle can make either grow.
const MAX_KEPT: usize = 1 << 20;

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
            0x8a => {
                let length = self.byte()?;
                self.long(length.into())
            }
            0x8b => {
                let length = u32::from_le_bytes(self.array()?);
                self.long(length.into())
            }
            b'G' => self.skip_bytes(size_of::<f64>() as u64),

            0x8c => {
                let length = self.byte()?;
                self.push_text(length.into())
            }
            b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                self.push_text(length.into())
            }
            b'U' => {
                let length = self.byte()?;
                self.push_python2_text(length.into())
            }
            b'T' => {
                let length = u32::from_le_bytes(self.array()?);
                self.push_python2_text(length.into())
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
                if self.marks.len() == MAX_KEPT {
                    return Err(format!("refused: it has more than {MAX_KEPT} open marks"));
                }
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.pop_to_mark().map(drop),
            b'2' => {
                let top = self.top()?;
                self.push_again(top)
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
                self.objects.extend_list(self.top()?, vec![member])
            }
            b'e' => {
                let members = self.pop_to_mark()?;
                self.objects.extend_list(self.top()?, members)
            }
            b'}' => self.push(Object::Dict(Vec::new())),
            b'd' => {
                let members = self.pop_to_mark()?;
                self.push(Object::Dict(Vec::new()))?;
                self.objects.extend_dict(self.top()?, &members)
            }
            b's' => {
                let entry = self.pop_many(2)?;
                self.objects.extend_dict(self.top()?, &entry)
            }
            b'u' => {
                let members = self.pop_to_mark()?;
                self.objects.extend_dict(self.top()?, &members)
            }
            // Sets: no weights.
            0x8f => self.push(Object::Opaque("set".into())),
            0x90 => self.pop_to_mark().map(drop),
            0x91 => {
                self.pop_to_mark()?;
                self.push(Object::Opaque("frozenset".into()))
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
                let (module, name) = (self.objects.name(parts[0])?, self.objects.name(parts[1])?);
                let global = Global::named(module, name)?;
                self.push(Object::Global(global))
            }
            b'R' => {
                let call = self.pop_many(2)?;
                let made = calls::call(&self.objects, call[0], call[1])?;
                self.push_made(made)
            }
            // `cls.__new__(cls, *arguments)`, without and with keywords.
            0x81 => {
                let call = self.pop_many(2)?;
                let made = calls::instance(&self.objects, call[0])?;
                self.push_made(made)
            }
            0x92 => {
                let call = self.pop_many(3)?;
                let made = calls::instance(&self.objects, call[0])?;
                self.push_made(made)
            }
            // Attributes of an object, such as a state dict's `_metadata`: no weights.
            b'b' => self.pop().map(drop),
            b'Q' => {
                let id = self.pop()?;
                let made = calls::persistent(&self.objects, id)?;
                self.push_made(made)
            }
            other => Err(format!("has the pickle opcode 0x{other:02x}, which no state dict needs")),
        }
    }

    fn push(&mut self, object: Object) -> Result<(), Problem> {
        let id = self.objects.add(object)?;
        self.push_again(id)
    }

    fn push_again(&mut self, id: ObjectId) -> Result<(), Problem> {
        if self.stack.len() == MAX_KEPT {
            return Err(format!("refused: its stack holds more than {MAX_KEPT} objects"));
        }
        self.stack.push(id);
        Ok(())
    }

    fn push_made(&mut self, made: Called) -> Result<(), Problem> {
        match made {
            Called::Existing(id) => self.push_again(id),
            Called::New(object) => self.push(object),
        }
    }

    fn push_text(&mut self, length: u64) -> Result<(), Problem> {
        let text = String::from_utf8(self.bytes(length)?)
            .map_err(|_| "has a text that is not UTF-8".to_owned())?;
        self.push(Object::Text(text))
    }

    /// Python 2 has one type for text and bytes.
    fn push_python2_text(&mut self, length: u64) -> Result<(), Problem> {
        let text = String::from_utf8(self.bytes(length)?);
        self.push(text.map_or(Object::Other, Object::Text))
    }

    fn skip_bytes(&mut self, length: u64) -> Result<(), Problem> {
        self.bytes(length)?;
        self.push(Object::Other)
    }

    /// A little-endian two's-complement number of `length` bytes. A wider one than the mark of the older
    /// container is no size or key of a tensor.
    fn long(&mut self, length: u64) -> Result<(), Problem> {
        let bytes = self.bytes(length)?;
        if bytes.len() > size_of::<i128>() {
            return self.push(Object::Other);
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

    fn memoize(&mut self, key: u32) -> Result<(), Problem> {
        let top = self.top()?;
        self.memo.insert(key, top);
        if self.memo.len() > MAX_KEPT {
            return Err(format!("refused: it keeps more than {MAX_KEPT} objects"));
        }
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), Problem> {
        let id = *self.memo.get(&key).ok_or("recalls an object that it never kept")?;
        self.push_again(id)
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
                byte if bytes.len() < MAX_NAME_BYTES => bytes.push(byte),
                _ => return Err(format!("has a name of more than {MAX_NAME_BYTES} bytes")),
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
