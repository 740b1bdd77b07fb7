//! `sib-cli completions` and `sib-cli man`: the command line as shells and `man` know it.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use sib_core::Error;

use crate::cli::Cli;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// Shell; its own manual says where completions belong
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Folder to write to, sib-cli.1 and a page for each command
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// Prints a script of completions.
pub fn complete(arguments: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "sib-cli", &mut script);
    Ok(io::stdout().write_all(&script)?)
}

/// Writes the manual pages.
pub fn manual(arguments: &Man) -> Result<()> {
    let folder = &arguments.output;
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(Error::io("write", folder))?;
    Ok(())
}
