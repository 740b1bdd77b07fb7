//! `sib-cli init`: from a folder of images to configurations that train on it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use sib_models::Arch;

use super::write_file;
use crate::error::usage;
use crate::foreign_text::for_shell;
use crate::init::{Found, Shares, Start, runs};
use crate::note;

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder with the images: a dataset's, or one folder a class, with folders for the splits around them or without
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Architecture
    #[arg(long, default_value = "resnet18", help = format!("Architecture: {}", Arch::names()))]
    arch: Arch,
    /// Initial weights: a checkpoint or any file that import reads
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Configuration to write, FILE.toml; FILE-sib.toml beside it is the same with S-IB [default: the folder's name]
    #[arg(long, value_name = "FILE.toml")]
    output: Option<PathBuf>,
    /// Where there are no splits: share of each class to test on
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    test: f64,
    /// Where there are no splits: share of each class to choose the best epoch by
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    val: f64,
    /// Seed of what is drawn where there are no splits
    #[arg(long, default_value_t = 43)]
    seed: u64,
    /// Replace configurations that are there; a list of splits is never replaced
    #[arg(long)]
    overwrite: bool,
}

/// Looks, says what is there, and writes.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { data, arch, weights, test, val, seed, .. } = arguments;
    let plain = arguments.output.clone().unwrap_or_else(|| default_output(data));
    super::expect_ending("--output", &plain, &["toml"])?;
    // The configurations hold them in comments, which end with a line.
    if let Some(path) =
        [data, &plain].into_iter().find(|path| path.to_string_lossy().contains(char::is_control))
    {
        return Err(usage(format!("{path:?}: expected a path without control characters")));
    }
    let sib = beside(&plain, "-sib");
    for file in [&plain, &sib] {
        if file.exists() && !arguments.overwrite {
            let problem = "is there already, --overwrite replaces it";
            return Err(usage(format!("{}: {problem}", file.display())));
        }
    }
    let shares = Shares { test: *test, val: *val, seed: *seed };
    let found = Found::below(data, shares)?;
    found.lines().iter().for_each(|line| note!("{line}"));
    let start = Start { found: &found, arch: *arch, weights: weights.as_deref() };
    let name = plain.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    write_file(&plain, start.plain(&plain, &sib, &name)?.as_bytes())?;
    write_file(&sib, start.sib(&plain, &sib, &name).as_bytes())?;
    let config = plain.display().to_string();
    note!("hint: sib-cli train --config {} --output {}/baseline", for_shell(&config), runs(&name));
    Ok(())
}

/// `pets.toml` of the folder `photos/pets/`.
fn default_output(data: &Path) -> PathBuf {
    let whole = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let name = whole.file_name().map_or("images".into(), |name| name.to_string_lossy());
    PathBuf::from(format!("{name}.toml"))
}

/// The file with `ending` after its stem.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{stem}{ending}.toml"))
}
