//! Bytes as files, for readers that ask for a path.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

thread_local! {
    // A folder for all inputs of a thread: making one takes longer than most readers do.
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// Calls `read` with a folder that holds `files`, names with contents, and nothing else.
pub(crate) fn with_files(files: &[(&str, &[u8])], read: impl FnOnce(&Path)) {
    FOLDER.with(|folder| {
        let folder =
            folder.get_or_init(|| TempDir::new().expect("a folder for temporary files")).path();
        for (name, bytes) in files {
            fs::write(folder.join(name), bytes).expect("temporary files can be written");
        }
        read(folder);
        for (name, _) in files {
            fs::remove_file(folder.join(name)).expect("temporary files can be removed");
        }
    });
}

/// Calls `read` with the path of a file of these bytes.
pub(crate) fn with_file(bytes: &[u8], read: impl FnOnce(&Path)) {
    with_files(&[("file", bytes)], |folder| read(&folder.join("file")));
}
