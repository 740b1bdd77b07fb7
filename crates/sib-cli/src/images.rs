//! The images that a command line names: files, or all images of folders.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Endings that are taken for images in a folder. A file that is named is opened whatever its
/// ending.
const ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];

/// The image files of `paths`, folders (not their subfolders) in the order of names.
///
/// # Errors
/// When a path does not exist or a folder holds no image.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for path in paths {
        let metadata =
            path.metadata().with_context(|| format!("{}: cannot read", path.display()))?;
        if !metadata.is_dir() {
            images.push(path.clone());
            continue;
        }
        let mut found: Vec<PathBuf> = std::fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .with_context(|| format!("{}: cannot read", path.display()))?;
        found.retain(|path| {
            let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
            ENDINGS.iter().any(|&known| ending == known)
        });
        if found.is_empty() {
            bail!(
                "{}: no image here, expected files ending in {}",
                path.display(),
                ENDINGS.join(", ")
            );
        }
        found.sort();
        images.extend(found);
    }
    Ok(images)
}

/// A stem for each image's output files: its file name without ending, with a number where two
/// images share one. No two are alike.
pub fn stems(images: &[PathBuf]) -> Vec<String> {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut total: HashMap<String, usize> = HashMap::new();
    for image in images {
        *total.entry(stem(image)).or_default() += 1;
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut numbered = |stem: String| {
        let number = seen.entry(stem.clone()).or_default();
        loop {
            *number += 1;
            let name = format!("{stem}-{number}");
            if !total.contains_key(&name) {
                return name;
            }
        }
    };
    let stems = images.iter().map(|image| stem(image));
    stems.map(|stem| if total[&stem] == 1 { stem } else { numbered(stem) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_the_same_name_get_different_stems() {
        let images = ["a/x.jpg", "b/x.png", "a/y.jpg"].map(PathBuf::from);
        assert_eq!(stems(&images), ["x-1", "x-2", "y"]);
        let images = ["a/x.jpg", "b/x.png", "a/x-1.jpg"].map(PathBuf::from);
        assert_eq!(stems(&images), ["x-2", "x-3", "x-1"]);
    }
}
