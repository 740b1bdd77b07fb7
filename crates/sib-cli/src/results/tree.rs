//! The folders below a folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use sib_core::{Error, Result};

use crate::left_out::LeftOut;

/// Below a folder that is searched; each costs a path as long as all above it.
const DEEPEST: usize = 64;

/// The folders at `roots` and all folders below them, each before those in it, in the order of their
/// names. Links to folders are followed; a folder that is met twice counts once. Those below that cannot be read are in
/// `left_out`.
///
/// # Errors
/// When a root cannot be read.
pub fn folders(roots: &[PathBuf], left_out: &mut LeftOut) -> Result<Vec<PathBuf>> {
    let mut search = Search { found: Vec::new(), seen: BTreeSet::new(), left_out };
    roots.iter().try_for_each(|root| search.visit(root.clone(), 0))?;
    Ok(search.found)
}

struct Search<'a> {
    found: Vec<PathBuf>,
    /// The folders so far by their real paths.
    seen: BTreeSet<PathBuf>,
    left_out: &'a mut LeftOut,
}

impl Search<'_> {
    /// Finds `folder` and those below it.
    ///
    /// # Errors
    /// When it cannot be read itself.
    fn visit(&mut self, folder: PathBuf, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(Error::malformed(folder, format!("more than {DEEPEST} folders deep")));
        }
        if !self.seen.insert(folder.canonicalize().map_err(Error::io("read", &folder))?) {
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
        self.found.push(folder);
        for folder in inside {
            let visited = self.visit(folder, depth + 1);
            self.left_out.read(visited.map_err(Into::into));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_that_is_too_deep_is_left_out_and_those_beside_it_are_not() {
        let root = tempfile::tempdir().unwrap();
        let deep = (0..=DEEPEST).fold(root.path().join("a"), |path, _| path.join("d"));
        fs::create_dir_all(deep).unwrap();
        fs::create_dir(root.path().join("b")).unwrap();
        let mut left_out = LeftOut::default();
        let found = folders(&[root.path().to_owned()], &mut left_out).unwrap();
        assert_eq!(found.last().unwrap(), &root.path().join("b"));
        assert!(left_out.problems()[0].contains("more than 64 folders deep"), "{left_out:?}");
        assert_eq!((found.len(), left_out.problems().len()), (DEEPEST + 2, 1));
    }

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
        let mut left_out = LeftOut::default();
        let found = folders(&[path("runs"), path("runs/a")], &mut left_out).unwrap();
        left_out.expect_none().unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|folder| folder.strip_prefix(root.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["runs", "runs/a", "runs/a/b", "runs/linked", "runs/linked/c"]);
    }
}
