//! `sib-cli report`: runs and evaluations on one HTML page.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::found::Found;
use super::{expect_ending, write_file};
use crate::left_out::LeftOut;
use crate::report;

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    found: Found,
    /// The page; it holds all that it shows
    #[arg(long, value_name = "FILE.html")]
    output: PathBuf,
}

/// Writes the page.
pub fn run(arguments: &Arguments) -> Result<()> {
    expect_ending("--output", &arguments.output, &["html", "htm"])?;
    let mut left_out = LeftOut::default();
    let folders = arguments.found.folders(&mut left_out)?;
    let page = report::html(&folders, &mut left_out)?;
    write_file(&arguments.output, page.as_bytes())?;
    left_out.expect_none()
}
