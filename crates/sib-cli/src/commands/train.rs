//! `sib-cli train`: a run from a configuration, or on from where it was interrupted.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::config::Config;
use crate::error::usage;
use crate::{processes, training};

/// Arguments of `train`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Configuration of the run, TOML
    #[arg(long, value_name = "FILE", required_unless_present = "resume")]
    config: Option<PathBuf>,
    /// Change a setting of the configuration, as train.epochs=10; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
    /// Folder of the run [default: runs/ and the configuration's name]
    #[arg(long, value_name = "RUN")]
    output: Option<PathBuf>,
    /// Go on with an interrupted run, or with --set train.epochs=N beyond its end
    #[arg(long, value_name = "RUN", conflicts_with_all = ["config", "output"])]
    resume: Option<PathBuf>,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    processes: processes::Arguments,
}

/// Trains from the start, or goes on where a run was interrupted.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Some(member) = processes::join(&arguments.processes, &arguments.device)? else {
        return Ok(());
    };
    match (&arguments.resume, &arguments.config) {
        (Some(path), _) => training::go_on(path, &arguments.assignments, &member),
        (None, Some(file)) => {
            let mut config = Config::load(file, &arguments.assignments)?;
            config.train.spread_over(member.group.size());
            let path = arguments.output.clone().unwrap_or_else(|| default_output(file));
            training::begin(&config, &path, &member)
        }
        (None, None) => Err(usage("--config: not given, expected a file")),
    }
}

fn default_output(config: &Path) -> PathBuf {
    Path::new("runs").join(config.file_stem().unwrap_or_default())
}
