//! The containers that weights come in, told apart before anything is read.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use sib_core::{Error, Result, plain_file};

use super::problem::Problem;

/// What is said of files that are none of those that are read.
pub(super) const STRANGER: &str = "neither a PyTorch nor a safetensors file";

/// The forms of file.
pub(super) enum Container {
    Zip,
    SafeTensors,
    Legacy,
}

/// Tells the containers apart by their first bytes.
pub(super) fn container(path: &Path) -> Result<Container> {
    let mut start = Vec::new();
    let file = plain_file::open(path).map_err(Error::io("read", path))?;
    file.take(512).read_to_end(&mut start).map_err(Error::io("read", path))?;
    if start.starts_with(b"PK\x03\x04") {
        return Ok(Container::Zip);
    }
    // A header's length, then the header; whether the file is as long is for its reader to say.
    if start.get(8) == Some(&b'{') && start.get(4..8) == Some(&[0; 4]) {
        return Ok(Container::SafeTensors);
    }
    // A pickle begins with its version, or names a class at once.
    if start.first() == Some(&0x80) || start.starts_with(b"c") {
        return Ok(Container::Legacy);
    }
    Err(Error::malformed(path, stranger(&start)))
}

/// What a file is that is no container of weights.
fn stranger(start: &[u8]) -> Problem {
    let kind = match start {
        [] => "an empty file",
        _ if start.get(257..262) == Some(b"ustar") => {
            return "a PyTorch file of before 2017 in a tar container: load and save it again with a \
                    newer PyTorch"
                .to_owned();
        }
        _ if start.starts_with(b"version https://git-lfs") => {
            "a pointer of Git LFS: `git lfs pull` fetches the file itself"
        }
        _ if start.starts_with(b"\x89HDF") => "HDF5, as Keras writes",
        _ if start.starts_with(&[0x1f, 0x8b]) => "a gzip archive: unpack it",
        _ if start.trim_ascii_start().starts_with(b"<") => "a page of HTML or XML",
        _ => return STRANGER.to_owned(),
    };
    format!("{STRANGER} but {kind}")
}

/// A reader of the whole file, and its length in bytes.
pub(super) fn open_file(path: &Path) -> Result<(BufReader<File>, u64)> {
    let file = plain_file::open(path).map_err(Error::io("read", path))?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    Ok((BufReader::new(file), length))
}
