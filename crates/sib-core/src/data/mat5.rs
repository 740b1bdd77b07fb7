//! The part of MATLAB's level 5 MAT-file format that lists need: numbers, strings and cells of
//! them, compressed or not, in either byte order ("MAT-File Format", MathWorks, R2023b).

use std::io::Read;

use flate2::read::ZlibDecoder;

/// An array of a MAT file; its elements in the file's order, column by column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A numeric array of any class (the real part).
    Numbers(Vec<f64>),
    /// A character array of one row.
    Text(String),
    /// A cell array.
    Cell(Vec<Value>),
    /// A class of array that is not read: struct, object, sparse, function.
    Other,
}

/// No list comes near: what a file may unpack to.
const MOST_BYTES: u64 = 32 << 20;
/// Cells within cells.
const MOST_LEVELS: usize = 16;

// Data types of elements.
const INT8: u32 = 1;
const UINT8: u32 = 2;
const INT16: u32 = 3;
const UINT16: u32 = 4;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const SINGLE: u32 = 7;
const DOUBLE: u32 = 9;
const INT64: u32 = 12;
const UINT64: u32 = 13;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
const UTF8: u32 = 16;

// Classes of arrays.
const CELL_CLASS: u8 = 1;
const CHAR_CLASS: u8 = 4;
const NUMERIC_CLASSES: std::ops::RangeInclusive<u8> = 6..=15;

/// The variables of a file, by name.
///
/// Memory stays within a small multiple of the unpacked size, which is bounded; sizes that the file
/// declares are never trusted.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(String, Value)>, String> {
    let (header, body) = bytes
        .split_at_checked(128)
        .ok_or_else(|| "no MAT file: shorter than its header of 128 bytes".to_owned())?;
    let big_endian = match &header[124..] {
        [0x00, 0x01, b'I', b'M'] => false,
        [0x01, 0x00, b'M', b'I'] => true,
        _ => return Err("no MAT file of level 5 (-v6 or -v7)".to_owned()),
    };
    let mut variables = Vec::new();
    let mut unpacked_bytes = 0;
    let mut cursor = Cursor { bytes: body, big_endian };
    while !cursor.bytes.is_empty() {
        let element = cursor.element()?;
        match element.kind {
            MATRIX => variables.push(Cursor { bytes: element.data, big_endian }.matrix(0)?),
            COMPRESSED => {
                let mut unpacked = Vec::new();
                ZlibDecoder::new(element.data)
                    .take(MOST_BYTES - unpacked_bytes + 1)
                    .read_to_end(&mut unpacked)
                    .map_err(|error| format!("broken compressed element: {error}"))?;
                unpacked_bytes += unpacked.len() as u64;
                if unpacked_bytes > MOST_BYTES {
                    return Err(format!("unpacks to more than {MOST_BYTES} bytes"));
                }
                let inner = Cursor { bytes: &unpacked, big_endian }.element()?;
                if inner.kind == MATRIX {
                    variables.push(Cursor { bytes: inner.data, big_endian }.matrix(0)?);
                }
            }
            _ => {}
        }
    }
    Ok(variables)
}

/// The bytes still to be read.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

/// A tagged piece of data.
struct Element<'a> {
    kind: u32,
    data: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) =
            self.bytes.split_at_checked(count).ok_or_else(|| "the file ends early".to_owned())?;
        self.bytes = rest;
        Ok(taken)
    }

    fn u32(&self, bytes: &[u8]) -> u32 {
        let word = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    }

    /// The next element. A tag whose upper half is not zero holds up to four bytes itself; all
    /// others are padded to eight, but for compressed ones.
    fn element(&mut self) -> Result<Element<'a>, String> {
        let tag = self.take(8)?;
        let first = self.u32(tag);
        if first >> 16 != 0 {
            let count = (first >> 16) as usize;
            let data = tag[4..].get(..count).ok_or("a small element of more than 4 bytes")?;
            return Ok(Element { kind: first & 0xffff, data });
        }
        let count = self.u32(&tag[4..]) as usize;
        let data = self.take(count)?;
        if first != COMPRESSED {
            let padding = count.wrapping_neg() % 8;
            self.bytes = self.bytes.get(padding..).unwrap_or_default();
        }
        Ok(Element { kind: first, data })
    }

    /// The content of a matrix element: its name and value.
    fn matrix(mut self, level: usize) -> Result<(String, Value), String> {
        if level > MOST_LEVELS {
            return Err(format!("cells nested more than {MOST_LEVELS} deep"));
        }
        if self.bytes.is_empty() {
            // An element of an empty cell.
            return Ok((String::new(), Value::Numbers(Vec::new())));
        }
        let flags = self.element()?;
        if flags.kind != UINT32 || flags.data.len() != 8 {
            return Err("an array without flags".to_owned());
        }
        let class = (self.u32(flags.data) & 0xff) as u8;
        let dimensions = self.element()?;
        if dimensions.kind != INT32 || dimensions.data.len() % 4 != 0 {
            return Err("an array without dimensions".to_owned());
        }
        let dimensions: Vec<u32> = dimensions.data.chunks_exact(4).map(|d| self.u32(d)).collect();
        let count = dimensions
            .iter()
            .try_fold(1_usize, |count, &d| count.checked_mul(d as usize))
            .ok_or("an array of impossible size")?;
        let name = String::from_utf8_lossy(self.element()?.data).into_owned();
        let value = match class {
            CELL_CLASS => {
                let mut cells = Vec::new();
                for _ in 0..count {
                    let cell = self.element()?;
                    if cell.kind != MATRIX {
                        return Err("a cell that is no array".to_owned());
                    }
                    let content = Cursor { bytes: cell.data, big_endian: self.big_endian };
                    cells.push(content.matrix(level + 1)?.1);
                }
                Value::Cell(cells)
            }
            CHAR_CLASS if count == 0 => Value::Text(String::new()),
            CHAR_CLASS if dimensions.first() == Some(&1) => {
                let data = self.element()?;
                Value::Text(self.text(&data)?)
            }
            class if NUMERIC_CLASSES.contains(&class) => {
                let data = self.element()?;
                let numbers = self.numbers(&data)?;
                if numbers.len() != count {
                    return Err(format!("{} numbers in an array of {count}", numbers.len()));
                }
                Value::Numbers(numbers)
            }
            _ => Value::Other,
        };
        Ok((name, value))
    }

    fn text(&self, element: &Element<'_>) -> Result<String, String> {
        match element.kind {
            INT8 | UINT8 | UTF8 => Ok(String::from_utf8_lossy(element.data).into_owned()),
            UINT16 => {
                let units: Vec<u16> =
                    self.numbers(element)?.into_iter().map(|unit| unit as u16).collect();
                Ok(String::from_utf16_lossy(&units))
            }
            kind => Err(format!("a string of data type {kind}")),
        }
    }

    /// Numbers of the type they are stored in, which may be smaller than the array's class.
    fn numbers(&self, element: &Element<'_>) -> Result<Vec<f64>, String> {
        macro_rules! decode {
            ($type:ty) => {
                element
                    .data
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&bytes| {
                        let value = if self.big_endian {
                            <$type>::from_be_bytes(bytes)
                        } else {
                            <$type>::from_le_bytes(bytes)
                        };
                        value as f64
                    })
                    .collect()
            };
        }
        Ok(match element.kind {
            INT8 => decode!(i8),
            UINT8 => decode!(u8),
            INT16 => decode!(i16),
            UINT16 => decode!(u16),
            INT32 => decode!(i32),
            UINT32 => decode!(u32),
            SINGLE => decode!(f32),
            DOUBLE => decode!(f64),
            INT64 => decode!(i64),
            UINT64 => decode!(u64),
            kind => return Err(format!("numbers of data type {kind}")),
        })
    }
}
