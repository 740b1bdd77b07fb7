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

/// What a file of this name shall become, where it is one that [`write_atomic`] has not finished.
pub fn draft_of(name: &str) -> Option<&str> {
    let (target, made) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    let (process, number) = made.split_once('-')?;
    let are_numbers = [process, number].iter().all(|it| it.parse::<u64>().is_ok());
    are_numbers.then_some(target)
}

/// Removes from `folder` the drafts of processes that were killed, as far as they were to be a file of a name that
/// `is_wanted`. Those of other processes are locked.
pub fn remove_drafts(folder: &Path, is_wanted: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        if draft_of(&name.to_string_lossy()).is_some_and(&is_wanted)
            && OpenOptions::new().write(true).open(&path).is_ok_and(|it| it.try_lock().is_ok())
        {
            let _ = fs::remove_file(path);
        }
    }
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
        // Tells it from one that nobody goes on with; where files cannot be locked, none is removed.
        let _ = file.try_lock();
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
