//! `sib-cli reproduce`: trainings, evaluations, tables, figures and report in one go.

use std::num::NonZeroUsize;

use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use sib_core::data::DatasetName;
use sib_models::Arch;

use crate::estimate::Estimator;
use crate::output;
use crate::reproduce::{self, FIGURES, NAMES, Profile, Request, TABLES};

/// Arguments of `reproduce`.
#[derive(Debug, Args)]
#[command(after_help = format!("Profiles:\n{}", Profile::overview()))]
pub struct Arguments {
    /// What to reproduce
    #[arg(long, default_value = NAMES[0], value_parser = PossibleValuesParser::new(NAMES))]
    profile: String,
    /// Only what this table needs; repeatable [default: all tables and figures]
    #[arg(long = "table", value_name = "NUMBER", value_parser = PossibleValuesParser::new(TABLES))]
    tables: Vec<String>,
    /// Only what this figure needs; repeatable
    #[arg(long = "figure", value_name = "NUMBER", value_parser = PossibleValuesParser::new(FIGURES))]
    figures: Vec<String>,
    /// Datasets in place of the profile's
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    datasets: Vec<DatasetName>,
    /// Backbones in place of the profile's
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    backbones: Vec<Arch>,
    /// Seeds of the trainings [default: 43]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Folder of the configurations
    #[arg(long, value_name = "DIR", default_value = "configs")]
    configs: String,
    /// Folder with the unpacked archives, named as in the configurations [default: data, beside them]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Folder with initial weights, ARCH*.pth, or none to start from scratch [default: weights, beside the
    /// configurations]
    #[arg(long, value_name = "DIR|none")]
    weights: Option<String>,
    /// Folder of the runs, tables and figures; a run in it that has ended is taken as it is, so after a
    /// change of its configuration remove its folder [default: runs/PROFILE, beside the configurations]
    #[arg(long, value_name = "DIR")]
    output: Option<String>,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Processes that share each training and evaluation, one a GPU with --device cuda
    #[arg(long, value_name = "N")]
    processes: Option<NonZeroUsize>,
    /// Score heatmaps on more images (demo: 100 in place of 24), into runs/PROFILE-full
    #[arg(long)]
    full: bool,
    /// Print the plan: every command, its cost, the disk it takes
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: time steps on the device, and say how long each training takes there, and how much memory
    #[arg(long, requires = "dry_run", conflicts_with = "processes")]
    time: bool,
}

/// Runs the plan, or prints it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let profile = Profile::named(&arguments.profile)?;
    let request = Request {
        tables: &arguments.tables,
        figures: &arguments.figures,
        datasets: &arguments.datasets,
        backbones: &arguments.backbones,
        seeds: &arguments.seeds,
        configs: &arguments.configs,
        data: arguments.data.as_deref(),
        weights: arguments.weights.as_deref(),
        output: arguments.output.as_deref(),
        device: &arguments.device,
        processes: arguments.processes,
        full: arguments.full,
    };
    let plan = reproduce::plan(&arguments.profile, &profile, &request)?;
    if arguments.dry_run {
        let estimator = arguments.time.then(|| Estimator::new(&arguments.device));
        return plan.print(&mut output::results(), estimator);
    }
    sib_core::device::parse(&arguments.device)?;
    reproduce::run(&plan)
}
