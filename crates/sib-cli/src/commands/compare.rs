//! `sib-cli compare`: networks beside one of them.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::found::Found;
use super::{expect_ending, write_file};
use crate::comparison::compare;
use crate::left_out::LeftOut;
use crate::output;

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    found: Found,
    /// Differences as tidy CSV, one row each
    #[arg(long, value_name = "FILE.csv")]
    output: Option<PathBuf>,
    /// Tables, a column for each network
    #[arg(long, value_name = "FILE.md")]
    markdown: Option<PathBuf>,
    /// The same for a paper, with booktabs
    #[arg(long, value_name = "FILE.tex")]
    latex: Option<PathBuf>,
}

/// Prints the comparison as Markdown, and writes what is asked for.
pub fn run(arguments: &Arguments) -> Result<()> {
    for (flag, path, endings) in [
        ("--output", &arguments.output, &["csv"][..]),
        ("--markdown", &arguments.markdown, &["md", "markdown"]),
        ("--latex", &arguments.latex, &["tex"]),
    ] {
        path.as_ref().map_or(Ok(()), |path| expect_ending(flag, path, endings))?;
    }
    let mut left_out = LeftOut::default();
    let folders = arguments.found.folders_by_name(&mut left_out)?;
    let evaluations = folders.finished_evaluations(&mut left_out)?;
    if evaluations.is_empty() {
        bail!("{folders}: no finished evaluation here");
    }
    let comparison = compare(&evaluations).with_context(|| folders.to_string())?;
    let markdown = comparison.to_markdown();
    if let Some(path) = &arguments.output {
        write_file(path, &comparison.to_csv()?)?;
    }
    if let Some(path) = &arguments.markdown {
        write_file(path, markdown.as_bytes())?;
    }
    if let Some(path) = &arguments.latex {
        write_file(path, comparison.to_latex().as_bytes())?;
    }
    write!(output::results(), "{markdown}")?;
    left_out.expect_none()
}
