//! Arrays as NumPy writes them (its format 1 to 3): numbers and booleans of any width and byte order,
//! rows first or columns first.

use std::io::Read;
use std::path::Path;

use sib_core::checkpoint::write_atomic;
use sib_core::{Result as CoreResult, plain_file};
use tch::Tensor;

/// NumPy's own limit is 10 000; a header of numbers is about 120 bytes long.
const LONGEST_HEADER: usize = 4096;

/// Reads the file at `path`, which must hold `[height, width]` numbers: f32 of that shape, the values
/// rounded to f32 where they are wider.
///
/// # Errors
/// What is wrong with the file, in words, without its name.
pub fn read(path: &Path, [height, width]: [i64; 2]) -> Result<Tensor, String> {
    let mut file = plain_file::open(path).map_err(|error| error.to_string())?;
    let header = Header::read(&mut file)?;
    if header.shape != [height, width] {
        return Err(format!("{:?}, expected [{height}, {width}]", header.shape));
    }
    let size = header.element.size * (height * width) as usize;
    let mut bytes = Vec::new();
    // One byte more would show that there is more.
    let limit = size as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() != size {
        let than = if bytes.len() < size { "fewer" } else { "more" };
        return Err(format!("{than} bytes than the {size} of its header: the file is damaged"));
    }
    let values: Vec<f32> =
        bytes.chunks(header.element.size).map(|b| header.element.of(b)).collect();
    let values = Tensor::from_slice(&values);
    Ok(if header.columns_first {
        values.view([width, height]).transpose(0, 1).contiguous()
    } else {
        values.view([height, width])
    })
}

/// Writes a map of f32, whole or not at all, with the bytes of tch's `write_npy`.
///
/// # Errors
/// When the file cannot be written; the error names it.
pub fn write(path: &Path, map: &Tensor) -> CoreResult<()> {
    let shape: String = map.size().iter().map(|length| format!("{length},")).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    // The numbers begin at a multiple of 16 bytes: 10 stand before the header, and a line ends it.
    let length = (header.len() + 11).next_multiple_of(16) - 11;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16 + 1).to_le_bytes());
    bytes.extend(format!("{header:<length$}\n").into_bytes());
    let values = Vec::<f32>::try_from(map.contiguous().view([-1]))?;
    bytes.extend(values.into_iter().flat_map(f32::to_le_bytes));
    write_atomic(path, |file| file.write_all(&bytes))
}

/// What stands before the numbers.
#[derive(Debug, PartialEq)]
struct Header {
    element: Element,
    columns_first: bool,
    shape: Vec<i64>,
}

impl Header {
    fn read(file: &mut impl Read) -> Result<Self, String> {
        let not_npy = |_| "not an .npy file".to_owned();
        let mut start = [0; 8];
        file.read_exact(&mut start).map_err(not_npy)?;
        if start.starts_with(b"PK") {
            return Err("an .npz archive or another zip, expected one .npy array".to_owned());
        }
        if &start[..6] != b"\x93NUMPY" {
            return Err("not an .npy file".to_owned());
        }
        let mut length = [0; 4];
        let bytes = match start[6] {
            1 => 2,
            2 | 3 => 4,
            version => return Err(format!("format {version} of .npy, expected 1 to 3")),
        };
        file.read_exact(&mut length[..bytes]).map_err(not_npy)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST_HEADER {
            return Err(format!("a header of {length} bytes, expected {LONGEST_HEADER} at most"));
        }
        let mut text = vec![0; length];
        file.read_exact(&mut text).map_err(|_| "its header ends early".to_owned())?;
        let text = String::from_utf8(text).map_err(|_| "its header is no text".to_owned())?;
        Self::parse(&text)
    }

    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, in any order of its keys.
    fn parse(text: &str) -> Result<Self, String> {
        let damaged = || format!("a damaged header: {}", text.trim_end());
        let value = |key: &str| {
            let key = format!("'{key}'");
            let (_, rest) = text.split_once(&key).ok_or_else(damaged)?;
            // Python would take the last of two.
            if rest.contains(&key) {
                return Err(damaged());
            }
            Ok::<_, String>(rest.trim_start().strip_prefix(':').ok_or_else(damaged)?.trim_start())
        };
        let columns_first = match value("fortran_order")? {
            rest if rest.starts_with("True") => true,
            rest if rest.starts_with("False") => false,
            _ => return Err(damaged()),
        };
        let shape = value("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let (shape, _) = shape.ok_or_else(damaged)?;
        let shape = shape.split(',').map(str::trim).filter(|length| !length.is_empty());
        let shape = shape.map(str::parse).collect::<Result<_, _>>().map_err(|_| damaged())?;
        let Some(descr) = value("descr")?.strip_prefix('\'').and_then(|d| d.split_once('\''))
        else {
            return Err("records with named fields, expected numbers".to_owned());
        };
        Ok(Self { element: Element::parse(descr.0)?, columns_first, shape })
    }
}

/// One number.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Element {
    /// Bytes.
    size: usize,
    /// Most significant byte first.
    big_endian: bool,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Float,
    Signed,
    Unsigned,
    Bool,
}

impl Element {
    /// NumPy's name of a type: byte order, letter, bytes.
    fn parse(descr: &str) -> Result<Self, String> {
        let wrong = || format!("elements of type {descr}, expected real numbers or booleans");
        let (order, name) = descr.split_at_checked(1).ok_or_else(wrong)?;
        let big_endian = match order {
            "<" | "|" => false,
            ">" => true,
            "=" => cfg!(target_endian = "big"),
            _ => return Err(wrong()),
        };
        let (kind, size) = match name {
            "f2" | "f4" | "f8" => (Kind::Float, &name[1..]),
            "i1" | "i2" | "i4" | "i8" => (Kind::Signed, &name[1..]),
            "u1" | "u2" | "u4" | "u8" => (Kind::Unsigned, &name[1..]),
            "b1" => (Kind::Bool, "1"),
            _ => return Err(wrong()),
        };
        Ok(Self { size: size.parse().map_err(|_| wrong())?, big_endian, kind })
    }

    /// The number in `bytes`, of which there are [`Self::size`].
    fn of(self, bytes: &[u8]) -> f32 {
        // Little-endian, filled up to 8 bytes.
        let mut eight = [0; 8];
        eight[..self.size].copy_from_slice(bytes);
        if self.big_endian {
            eight[..self.size].reverse();
        }
        let bits = u64::from_le_bytes(eight);
        let unused = 64 - 8 * self.size as u32;
        match (self.kind, self.size) {
            (Kind::Float, 2) => half(bits as u16),
            (Kind::Float, 4) => f32::from_bits(bits as u32),
            (Kind::Float, _) => f64::from_bits(bits) as f32,
            // The sign comes down with the shift.
            (Kind::Signed, _) => ((bits << unused) as i64 >> unused) as f32,
            (Kind::Unsigned, _) => bits as f32,
            (Kind::Bool, _) => f32::from(u8::from(bits != 0)),
        }
    }
}

/// The value of an IEEE 754 binary16.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of `[2, 3]` numbers with this type and order, padded as NumPy pads.
    fn file(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let text = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}");
        let text = format!("{text:<117}\n");
        [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), data]
            .concat()
    }

    fn read_bytes(bytes: &[u8]) -> Result<Vec<f32>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.npy");
        std::fs::write(&path, bytes).unwrap();
        read(&path, [2, 3]).map(|map| map.contiguous().view([-1]).try_into().unwrap())
    }

    const VALUES: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

    #[test]
    fn every_type_and_byte_order() {
        let bytes = |of: fn(u8) -> Vec<u8>| (0..6).flat_map(of).collect::<Vec<u8>>();
        // What numpy.arange(6).astype(TYPE).tobytes() gives.
        let cases: [(&str, Vec<u8>); 12] = [
            ("'<f4'", bytes(|v| f32::from(v).to_le_bytes().into())),
            ("'>f4'", bytes(|v| f32::from(v).to_be_bytes().into())),
            ("'<f8'", bytes(|v| f64::from(v).to_le_bytes().into())),
            ("'>f8'", bytes(|v| f64::from(v).to_be_bytes().into())),
            ("'<f2'", vec![0, 0, 0, 0x3c, 0, 0x40, 0, 0x42, 0, 0x44, 0, 0x45]),
            ("'>f2'", vec![0, 0, 0x3c, 0, 0x40, 0, 0x42, 0, 0x44, 0, 0x45, 0]),
            ("'|u1'", bytes(|v| vec![v])),
            ("'|i1'", bytes(|v| vec![v])),
            ("'>u2'", bytes(|v| u16::from(v).to_be_bytes().into())),
            ("'<i4'", bytes(|v| i32::from(v).to_le_bytes().into())),
            ("'>i8'", bytes(|v| i64::from(v).to_be_bytes().into())),
            ("'<u8'", bytes(|v| u64::from(v).to_le_bytes().into())),
        ];
        for (descr, data) in cases {
            assert_eq!(
                read_bytes(&file(descr, "False", "(2, 3)", &data)).unwrap(),
                VALUES,
                "{descr}"
            );
        }
        let booleans = file("'|b1'", "False", "(2, 3)", &[0, 1, 1, 0, 0, 1]);
        assert_eq!(read_bytes(&booleans).unwrap(), [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
        let signed =
            file("'<i2'", "False", "(2,3)", &[0xff, 0xff, 0, 0x80, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(read_bytes(&signed).unwrap(), [-1.0, -32768.0, 1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn columns_first_and_later_formats() {
        let data: Vec<u8> = VALUES.iter().flat_map(|v| v.to_le_bytes()).collect();
        let fortran = file("'<f4'", "True", "(2, 3)", &data);
        assert_eq!(read_bytes(&fortran).unwrap(), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
        let plain = file("'<f4'", "False", "(2, 3)", &data);
        for version in [2, 3] {
            let length = (u32::from(plain[8]) + 256 * u32::from(plain[9])).to_le_bytes();
            let later = [b"\x93NUMPY", &[version, 0][..], &length, &plain[10..]].concat();
            assert_eq!(read_bytes(&later).unwrap(), VALUES, "{version}");
        }
    }

    #[test]
    fn halves_are_exact() {
        for (bits, value) in [
            (0x0001, 2f32.powi(-24)),
            (0x03ff, 1023.0 * 2f32.powi(-24)),
            (0x0400, 2f32.powi(-14)),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn what_is_no_map_of_numbers_is_refused_in_words() {
        let data = [0; 24];
        let with = |descr, shape| file(descr, "False", shape, &data);
        let whole = with("'<f4'", "(2, 3)");
        let long_header = [b"\x93NUMPY\x02\x00", &u32::MAX.to_le_bytes()[..], &data].concat();
        let cases: [(Vec<u8>, &str); 15] = [
            (vec![], "not an .npy file"),
            (b"not an array".to_vec(), "not an .npy file"),
            (b"PK\x03\x04 an archive".to_vec(), "an .npz archive"),
            (b"\x93NUMPY\x09\x00\x00\x00".to_vec(), "format 9 of .npy, expected 1 to 3"),
            (long_header, "a header of 4294967295 bytes"),
            (whole[..60].to_vec(), "its header ends early"),
            (whole[..whole.len() - 1].to_vec(), "fewer bytes than the 24"),
            ([&whole[..], &[0]].concat(), "more bytes than the 24"),
            (with("'<f4'", "(3, 2)"), "[3, 2], expected [2, 3]"),
            (with("'<f4'", "(1, 2, 3)"), "[1, 2, 3], expected [2, 3]"),
            (with("'<f4'", "(9999999999, 9999999999)"), "expected [2, 3]"),
            (with("'<f4'", "(2, x)"), "a damaged header"),
            (with("'|O'", "(2, 3)"), "elements of type |O, expected real numbers"),
            (with("'<c8'", "(2, 3)"), "elements of type <c8, expected real numbers"),
            (with("[('a', '<f4')]", "(2, 3)"), "records with named fields"),
        ];
        for (bytes, expected) in cases {
            let problem = read_bytes(&bytes).unwrap_err();
            assert!(problem.contains(expected), "{expected}: {problem}");
        }
    }
}
