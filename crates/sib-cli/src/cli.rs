//! The commands and their arguments.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::commands::{
    bench, compare, data, doctor, evaluate, explain, figure, import, init, predict, report,
    reproduce, shell, table, train,
};
use crate::{output, processes};

/// Spatial Information Bottleneck: train image classifiers whose explanations are sharp, explain
/// and evaluate them.
#[derive(Debug, Parser)]
#[command(name = "sib-cli", version, max_term_width = 100)]
pub struct Cli {
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at a folder of images and write configurations that train on it
    Init(init::Arguments),
    /// Train a network, plainly or with S-IB
    Train(train::Arguments),
    /// Print the most probable classes of images as CSV
    Predict(predict::Arguments),
    /// Write heatmaps of images: raw maps, overlays, contact sheets, a manifest
    Explain(explain::Arguments),
    /// Measure a network and its heatmaps on a dataset
    Evaluate(evaluate::Arguments),
    /// Join evaluations into a table of the paper, baseline beside S-IB
    Table(table::Arguments),
    /// Compare any number of networks with one of them, over training seeds
    Compare(compare::Arguments),
    /// Draw a figure of the paper from runs, evaluations or heatmaps
    Figure(figure::Arguments),
    /// Put runs, evaluations, tables, curves and heatmaps on one self-contained HTML page
    Report(report::Arguments),
    /// Train, evaluate, tabulate and draw what a profile names, in one go
    Reproduce(reproduce::Arguments),
    /// Turn weights of other software into a checkpoint
    Import(import::Arguments),
    /// Describe datasets, check that one is whole, export its images
    Data(data::Arguments),
    /// Time the expensive parts against each other
    Bench(bench::Arguments),
    /// Print versions, devices and where libtorch was found
    Doctor(doctor::Arguments),
    /// Print completions of these commands for a shell
    Completions(shell::Completions),
    /// Write the manual pages
    Man(shell::Man),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        if self.quiet {
            output::hush();
        }
        let is_shared = matches!(
            self.command,
            Command::Train(_) | Command::Evaluate(_) | Command::Explain(_) | Command::Predict(_)
        );
        if !is_shared {
            processes::expect_one()?;
        }
        match self.command {
            Command::Init(arguments) => init::run(&arguments),
            Command::Train(arguments) => train::run(&arguments),
            Command::Predict(arguments) => predict::run(&arguments),
            Command::Explain(arguments) => explain::run(&arguments),
            Command::Evaluate(arguments) => evaluate::run(&arguments),
            Command::Table(arguments) => table::run(&arguments),
            Command::Compare(arguments) => compare::run(&arguments),
            Command::Figure(arguments) => figure::run(&arguments),
            Command::Report(arguments) => report::run(&arguments),
            Command::Reproduce(arguments) => reproduce::run(&arguments),
            Command::Import(arguments) => import::run(&arguments),
            Command::Data(arguments) => data::run(&arguments),
            Command::Bench(arguments) => bench::run(&arguments),
            Command::Doctor(arguments) => doctor::run(&arguments),
            Command::Completions(arguments) => shell::complete(&arguments),
            Command::Man(arguments) => shell::manual(&arguments),
        }
    }
}
