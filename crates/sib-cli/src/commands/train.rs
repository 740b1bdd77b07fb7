//! `sib-cli train`: a run from a configuration, or on from where it was interrupted.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use sib_core::data::DatasetName;
use sib_models::Arch;
use toml::{Table, Value};

use crate::config::Config;
use crate::estimate::Estimator;
use crate::{output, processes, training};

/// Arguments of `train`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Configuration of the run, TOML; without one, --data names what to train on
    #[arg(long, value_name = "FILE", required_unless_present_any = ["resume", "data"])]
    config: Option<PathBuf>,
    #[command(flatten)]
    chosen: Chosen,
    /// Change a setting of the configuration, as train.epochs=10; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
    /// Folder of the run [default: runs/ and the configuration's name, or dataset and network]
    #[arg(long, value_name = "RUN")]
    output: Option<PathBuf>,
    /// Go on with an interrupted run, or with --set train.epochs=N beyond its end
    #[arg(long, value_name = "RUN", conflicts_with_all = ["config", "output", "Chosen"])]
    resume: Option<PathBuf>,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    processes: processes::Arguments,
    /// Print the configuration as it would be run, the number of parameters and updates, and from a few timed steps how
    /// long it takes here and how much memory
    #[arg(long, conflicts_with_all = ["resume", "processes"])]
    dry_run: bool,
}

/// What most runs differ in, in place of a file or over it.
#[derive(Debug, Args)]
struct Chosen {
    #[arg(long, value_name = "NAME", help = format!("Dataset: {}", DatasetName::listed()))]
    data: Option<DatasetName>,
    /// Folder of the unpacked archive; synthetic needs none
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Architecture
    #[arg(long, help = format!("Architecture: {}", Arch::names()))]
    arch: Option<Arch>,
    /// Initial weights: a checkpoint or any file that import reads
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Train with S-IB, as --set sib.enabled=true does
    #[arg(long)]
    sib: bool,
}

impl Chosen {
    /// As tables of the configuration.
    fn table(&self) -> Table {
        let text = |value: Option<String>| value.map(Value::String);
        let path = |path: &Option<PathBuf>| text(path.as_ref().map(|it| it.display().to_string()));
        let keys = [
            ("data", "name", text(self.data.map(|name| name.to_string()))),
            ("data", "root", path(&self.root)),
            ("model", "arch", text(self.arch.map(|arch| arch.to_string()))),
            ("model", "weights", path(&self.weights)),
            ("sib", "enabled", self.sib.then_some(Value::Boolean(true))),
        ];
        let mut table = Table::new();
        for (section, key, value) in keys {
            let Some(value) = value else { continue };
            let section = table.entry(section).or_insert_with(|| Table::new().into());
            section.as_table_mut().expect("made above").insert(key.to_owned(), value);
        }
        table
    }
}

/// Trains from the start, or goes on where a run was interrupted.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Some(member) = processes::join(&arguments.processes, &arguments.device)? else {
        return Ok(());
    };
    if let Some(path) = &arguments.resume {
        return training::go_on(path, &arguments.assignments, &member);
    }
    let file = arguments.config.as_deref();
    let mut config = Config::assemble(file, arguments.chosen.table(), &arguments.assignments)?;
    config.train.spread_over(member.group.size());
    if arguments.dry_run {
        let estimator = Estimator::new(&arguments.device);
        return training::rehearse(&config, &member, estimator, &mut output::results());
    }
    let path = arguments.output.clone().unwrap_or_else(|| default_output(file, &config));
    training::begin(&config, &path, &member)
}

fn default_output(file: Option<&Path>, config: &Config) -> PathBuf {
    let named = file.and_then(Path::file_stem).map(PathBuf::from);
    Path::new("runs").join(named.unwrap_or_else(|| {
        let branch = if config.sib.as_ref().is_some_and(|sib| sib.enabled) { "-sib" } else { "" };
        format!("{}-{}{branch}", config.data.name, config.model.arch).into()
    }))
}
