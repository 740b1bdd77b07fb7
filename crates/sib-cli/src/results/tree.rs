//! The folders below a folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use sib_core::{Error, Result};

/// Below a folder that is searched; each costs a path as long as all above it.
const DEEPEST: usize = 64;

/// The folders at `roots` and all folders below them, each before those in it, in the order of their
/// names. Links to folders are followed; a folder that is met twice counts once.
///
/// # Errors
/// When a folder cannot be read.
pub fn folders(roots: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    roots.iter().try_for_each(|root| visit(root.clone(), 0, &mut found, &mut seen))?;
    Ok(found)
}

/// `seen` holds the folders so far by their real paths.
fn visit(
    folder: PathBuf,
    depth: usize,
    found: &mut Vec<PathBuf>,
    seen: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    if depth > DEEPEST {
        return Err(Error::malformed(folder, format!("more than {DEEPEST} folders deep")));
    }
    if !seen.insert(folder.canonicalize().map_err(Error::io("read", &folder))?) {
        return Ok(());
    }
    let mut inside = Vec::new();
    for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
        let entry = entry.map_err(Error::io("read", &folder))?;
        // Of what a link refers to; one that leads nowhere is no folder.
        if entry.path().is_dir() {
            inside.push(entry.path());
        }
    }
    inside.sort();
    found.push(folder);
    inside.into_iter().try_for_each(|folder| visit(folder, depth + 1, found, seen))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_once_and_never_in_a_circle() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("runs/a/b")).unwrap();
        fs::create_dir_all(path("elsewhere/c")).unwrap();
        symlink(path("elsewhere"), path("runs/linked")).unwrap();
        symlink(path("runs"), path("runs/a/circle")).unwrap();
        symlink(path("runs/a"), path("runs/z")).unwrap();
        symlink(path("nowhere"), path("runs/dangling")).unwrap();
        let found = folders(&[path("runs"), path("runs/a")]).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|folder| folder.strip_prefix(root.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["runs", "runs/a", "runs/a/b", "runs/linked", "runs/linked/c"]);
    }
}
