//! `sib-cli data`: what datasets there are, whether one is whole, and its images as files.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use sib_core::data::{DatasetName, Split};

use crate::config::DataConfig;
use crate::datasets::{check_all, list_all, write_images};

/// Arguments of `data`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Describe the datasets: size, licence, where published, what to unpack
    List,
    /// Decode every image and mask of a dataset and report what is missing or broken
    Check(Check),
    /// Write the images of a split as PNG files
    Export(Export),
}

/// Which dataset.
#[derive(Debug, Args)]
struct Source {
    #[arg(long, value_name = "NAME", help = DatasetName::listed())]
    data: DatasetName,
    /// Folder of the unpacked archive; synthetic needs none
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    source: Source,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Export {
    #[command(flatten)]
    source: Source,
    /// train, test or val
    #[arg(long, default_value = "test")]
    split: Split,
    /// At most this many images, evenly over the classes
    #[arg(long)]
    limit: Option<usize>,
    /// Folder to write to
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

impl Source {
    fn config(&self) -> DataConfig {
        DataConfig {
            name: self.data,
            root: self.root.clone(),
            allow_missing: true,
            ..DataConfig::default()
        }
    }
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::List => list_all(),
        Command::Check(Check { source, json }) => check_all(&source.config(), *json),
        Command::Export(Export { source, split, limit, output }) => {
            write_images(&source.config(), *split, *limit, output)
        }
    }
}
