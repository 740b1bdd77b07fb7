//! The images that a command line names: files, all images of folders, or lists of them.

use std::collections::HashMap;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use image::{ImageFormat, RgbImage};
use sib_core::checkpoint::write_atomic;
use sib_core::data::files::{self, ENDINGS, Found};

use crate::error::usage;
use crate::note;

/// The image files of `paths`, of folders and the folders below them in the order in which a dataset
/// has them. `-` is the paths on stdin, a line each, and a `.csv` file those of its column `image`, from its folder. Any
/// other file that is named is opened whatever its name; what is left out of a folder is told on stderr.
///
/// # Errors
/// When a path does not exist, a folder holds no image, or a list names none.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let lines = io::stdin().lines().collect::<Result<Vec<String>, _>>();
            let lines = lines.context("--image -: cannot read stdin")?;
            let listed = lines.into_iter().filter(|line| !line.is_empty()).map(PathBuf::from);
            images.extend(files_of(path, listed.collect())?);
        } else if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
            images.extend(files_of(path, listed(path)?)?);
        } else {
            images.extend(files_at(path)?);
        }
    }
    Ok(images)
}

/// Writes a PNG file, whole or not at all. (`RgbImage::save` reports no error of its last bytes: it drops the buffer
/// that they are in.)
///
/// # Errors
/// When the file cannot be written; the error names it.
pub fn write_png(picture: &RgbImage, path: &Path) -> Result<()> {
    let mut png = Cursor::new(Vec::new());
    picture
        .write_to(&mut png, ImageFormat::Png)
        .with_context(|| format!("{}: cannot write", path.display()))?;
    Ok(write_atomic(path, |file| file.write_all(png.get_ref()))?)
}

/// The files of a list, which `source` is.
fn files_of(source: &Path, listed: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    if listed.is_empty() {
        return Err(usage(format!("--image {}: got no path, expected a list", source.display())));
    }
    let files = listed.iter().map(|path| files_at(path)).collect::<Result<Vec<_>>>()?;
    Ok(files.into_iter().flatten().collect())
}

/// The column `image` of a CSV file, as paths from its folder.
fn listed(path: &Path) -> Result<Vec<PathBuf>> {
    let broken = || format!("{}: cannot read", path.display());
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_path(path)
        .with_context(broken)?;
    let header = reader.headers().with_context(broken)?;
    let mut places = header.iter().enumerate().filter(|(_, column)| *column == "image");
    let (Some((place, _)), None) = (places.next(), places.next()) else {
        let header = header.iter().collect::<Vec<_>>().join(",");
        bail!("{}: header {header}, expected one column image", path.display());
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let rows = reader.records().map(|row| {
        let row = row.with_context(broken)?;
        Ok(row.get(place).filter(|image| !image.is_empty()).map(|image| folder.join(image)))
    });
    Ok(rows.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// The image files at `path`: itself, or those of the folder that it is.
fn files_at(path: &Path) -> Result<Vec<PathBuf>> {
    if path.as_os_str().is_empty() {
        return Err(usage("--image: got an empty path, expected a file or a folder"));
    }
    let metadata = path.metadata().with_context(|| format!("{}: cannot read", path.display()))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let Found { images: found, others } = files::find(path)?;
    if let Some(left_out) = left_out(path, &others) {
        note!("{left_out}");
    }
    if found.is_empty() {
        bail!("{}: no image here, expected files ending in {}", path.display(), ENDINGS.join(", "));
    }
    Ok(found)
}
/// How many of the names of files that are left out are told.
const NAMES: usize = 3;

/// What is said of the files in `folder` that are no images by their names.
fn left_out(folder: &Path, files: &[PathBuf]) -> Option<String> {
    let name = |path: &PathBuf| path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let names: Vec<String> = files.iter().take(NAMES).map(name).collect();
    let more = if files.len() > NAMES { ", ..." } else { "" };
    (!files.is_empty()).then(|| {
        format!(
            "{}: {} files left out that are no images by their names: {}{more}",
            folder.display(),
            files.len(),
            names.join(", ")
        )
    })
}

/// Bytes of a stem; names of files may have 255.
const LONGEST_STEM: usize = 180;

/// A stem for each image's output files: the beginning of its file name without ending, with a number where two
/// images share one. No two are alike.
pub fn stems(images: &[PathBuf]) -> Vec<String> {
    let stem = |path: &Path| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let end = (0..=stem.len().min(LONGEST_STEM)).rfind(|&at| stem.is_char_boundary(at));
        stem[..end.unwrap_or_default()].to_owned()
    };
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
    fn a_folder_is_walked_and_what_is_left_out_is_told() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        std::fs::create_dir_all(root.join("b/c")).unwrap();
        std::fs::create_dir_all(root.join(".ipynb_checkpoints")).unwrap();
        for name in [
            "z.JFIF",
            "a.webp",
            "b/c/x.tif",
            "b/y.bmp",
            "b a.gif",
            "._a.webp",
            ".hidden.png",
            ".ipynb_checkpoints/a-checkpoint.png",
            "notes.txt",
            "Thumbs.db",
            "b/photo.heic",
            "b/c/d.avif",
        ] {
            std::fs::write(root.join(name), "").unwrap();
        }
        let images = expand(&[root.to_owned()]).unwrap();
        let names: Vec<_> = images.iter().map(|path| path.strip_prefix(root).unwrap()).collect();
        assert_eq!(names, ["a.webp", "b a.gif", "z.JFIF", "b/y.bmp", "b/c/x.tif"].map(Path::new));
        let Found { others, .. } = files::find(root).unwrap();
        let told = left_out(root, &others).unwrap();
        assert!(told.contains("4 files left out"), "{told}");
        assert!(told.ends_with(": Thumbs.db, notes.txt, b/photo.heic, ..."), "{told}");
        assert_eq!(left_out(root, &[]), None);
        // A file that is named is meant, whatever its name.
        assert_eq!(expand(&[root.join("notes.txt")]).unwrap().len(), 1);
    }

    #[test]
    fn a_list_names_images_and_folders_from_where_it_lies() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        std::fs::create_dir(root.join("b")).unwrap();
        for name in ["a.png", "b/c.jpg", "b/d.jpg"] {
            std::fs::write(root.join(name), "").unwrap();
        }
        let list = root.join("list.csv");
        let expanded = |text: &str| {
            std::fs::write(&list, text).unwrap();
            expand(std::slice::from_ref(&list))
        };
        let images = expanded("label,image\ncat,b\ndog,a.png\nemu,\n").unwrap();
        assert_eq!(images, ["b/c.jpg", "b/d.jpg", "a.png"].map(|name| root.join(name)));
        for (text, problem) in [
            ("path\na.png\n", "header path, expected one column image"),
            ("image\n", "got no path, expected a list"),
            ("image\ngone.png\n", "gone.png: cannot read"),
        ] {
            let error = format!("{:#}", expanded(text).unwrap_err());
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn images_of_the_same_name_get_different_stems() {
        let images = ["a/x.jpg", "b/x.png", "a/y.jpg"].map(PathBuf::from);
        assert_eq!(stems(&images), ["x-1", "x-2", "y"]);
        let images = ["a/x.jpg", "b/x.png", "a/x-1.jpg"].map(PathBuf::from);
        assert_eq!(stems(&images), ["x-2", "x-3", "x-1"]);
    }
}
