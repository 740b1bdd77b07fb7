//! Initial weights by the names of their files.

use std::fs;
use std::path::Path;

use anyhow::Result;
use sib_core::Error;
use sib_models::Arch;

/// The file `ARCH*.pth` in `folder`, the first by name, that is not of an architecture with a longer name;
/// `None` where there is none.
///
/// # Errors
/// When the folder is there and cannot be read.
pub(super) fn file_of(arch: Arch, folder: &str) -> Result<Option<String>> {
    let path = Path::new(folder);
    if !path.is_dir() {
        return Ok(None);
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::io("read", path))? {
        let entry = entry.map_err(Error::io("read", path))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    let name = names.into_iter().find(|name| name.ends_with(".pth") && arch_of(name) == Some(arch));
    Ok(name.map(|name| path.join(name).display().to_string()))
}

/// The architecture that a file's name begins with.
fn arch_of(name: &str) -> Option<Arch> {
    let begins = Arch::ALL.into_iter().filter(|arch| name.starts_with(arch.name()));
    begins.max_by_key(|arch| arch.name().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_of_the_architecture_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["resnet18-f37072fd.pth", "resnet18-a.pth", "resnet18.txt", "vit_b_32.pth.part"]
        {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let root = folder.path().display().to_string();
        let found = file_of(Arch::ResNet18, &root).unwrap().unwrap();
        assert!(found.ends_with("/resnet18-a.pth"), "{found}");
        assert_eq!(file_of(Arch::VitB32, &root).unwrap(), None);
        assert_eq!(file_of(Arch::VitB32, "nowhere").unwrap(), None);
    }
}
