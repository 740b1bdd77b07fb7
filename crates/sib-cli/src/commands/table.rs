//! `sib-cli table`: a table of the paper from evaluations.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::found::Found;
use super::{expect_ending, write_file};
use crate::left_out::LeftOut;
use crate::output;
use crate::tables::{self, Number};

/// Arguments of `table`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Which of the paper's tables: 2 accuracy, 3 information, 4 localization, 5 faithfulness
    #[arg(value_parser = Number::parse)]
    number: Number,
    #[command(flatten)]
    found: Found,
    /// Table as tidy CSV, one row a cell
    #[arg(long, value_name = "FILE.csv")]
    output: PathBuf,
    /// Table in the paper's layout
    #[arg(long, value_name = "FILE.md")]
    markdown: Option<PathBuf>,
    /// Table for a paper, with booktabs
    #[arg(long, value_name = "FILE.tex")]
    latex: Option<PathBuf>,
}

/// Writes the table and prints it as Markdown.
pub fn run(arguments: &Arguments) -> Result<()> {
    expect_ending("--output", &arguments.output, &["csv"])?;
    if let Some(path) = &arguments.markdown {
        expect_ending("--markdown", path, &["md", "markdown"])?;
    }
    if let Some(path) = &arguments.latex {
        expect_ending("--latex", path, &["tex"])?;
    }
    let mut left_out = LeftOut::default();
    let folders = arguments.found.folders(&mut left_out)?;
    let evaluations = folders.finished_evaluations(&mut left_out)?;
    if evaluations.is_empty() {
        bail!("{folders}: no finished evaluation here");
    }
    let table =
        tables::build(arguments.number, &evaluations).with_context(|| folders.to_string())?;
    let markdown = table.to_markdown();
    write_file(&arguments.output, &table.to_csv()?)?;
    if let Some(path) = &arguments.markdown {
        write_file(path, markdown.as_bytes())?;
    }
    if let Some(path) = &arguments.latex {
        write_file(path, table.to_latex().as_bytes())?;
    }
    write!(output::results(), "{markdown}")?;
    left_out.expect_none()
}
