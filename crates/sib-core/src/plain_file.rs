//! Files that others wrote, read whole: plain ones alone, since a pipe waits for ever and a device never ends.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Opens the plain file at `path`; links are followed.
///
/// # Errors
/// Where it cannot be opened, or is a folder, a pipe, a socket or a device.
pub fn open(path: &Path) -> io::Result<File> {
    // Looked at first: opening a pipe waits for its other end.
    if fs::metadata(path)?.is_file() {
        return File::open(path);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"))
}

/// The content of the plain file at `path`.
///
/// # Errors
/// As [`open`], and where it cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::with_capacity(file.metadata()?.len() as usize);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of the plain file at `path`.
///
/// # Errors
/// As [`read`], and where it is not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_files_are_read_also_through_links_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, socket, device] =
            ["file", "link", "socket", "device"].map(|name| folder.path().join(name));
        fs::write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(read_to_string(&link).unwrap(), "text");
        for path in [&*device, &*socket, folder.path()] {
            assert_eq!(read(path).unwrap_err().to_string(), "not a plain file", "{path:?}");
        }
        fs::write(&file, [0xff]).unwrap();
        assert_eq!(read_to_string(&file).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
