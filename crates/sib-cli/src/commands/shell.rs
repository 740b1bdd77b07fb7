//! `sib-cli completions` and `sib-cli man`: the command line as shells and `man` know it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use sib_core::Error;
use sib_core::checkpoint::{remove_drafts, write_atomic};

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
    remove_drafts(folder, |name| name.ends_with(".1"));
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    write_pages(command, folder)
}

/// The pages of a command and of those below it. (`clap_mangen::generate_to` writes them in place, a few bytes a call.)
fn write_pages(command: Command, folder: &Path) -> Result<()> {
    for below in command.get_subcommands().filter(|it| !it.is_hide_set()).cloned() {
        write_pages(below, folder)?;
    }
    let page = clap_mangen::Man::new(command);
    let path = folder.join(page.get_filename());
    Ok(write_atomic(&path, |file| page.render(file))?)
}
