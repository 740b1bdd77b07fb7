//! Files that are whole or not there: written beside the target, synchronised, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// Lets `write` produce the content of `path`, which holds either its former content or the whole
/// new one at any time, also after a full disk or a power cut.
///
/// # Errors
/// [`Error::Io`]; nothing is left behind then.
pub fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let draft = Draft::create(path)?;
    let synchronised = (|| {
        let mut file = BufWriter::with_capacity(1 << 20, &draft.file);
        write(&mut file)?;
        file.flush()?;
        draft.file.sync_all()
    })();
    synchronised.map_err(Error::io("write", path))?;
    fs::rename(&draft.path, path).map_err(Error::io("write", path))?;
    // Makes the rename itself durable. Not every file system lets a folder be opened for that, and
    // the content is safe either way.
    if let Ok(folder) = File::open(folder_of(path)) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// A new file beside the target, removed when dropped (after the rename there is none to remove).
struct Draft {
    path: PathBuf,
    file: File,
}

impl Draft {
    fn create(target: &Path) -> Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let Some(name) = target.file_name() else {
            return Err(Error::io("write", target)(io::ErrorKind::IsADirectory.into()));
        };
        let path = folder_of(target).join(format!(
            ".{}.{}-{}.tmp",
            name.to_string_lossy(),
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        ));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::io("write", target))?;
        Ok(Self { path, file })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
