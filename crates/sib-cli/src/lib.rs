//! The command line of S-IB as a library; `main.rs` only calls [`run`].

pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod config;
pub mod csv_rows;
pub mod environment;
pub mod error;
pub mod evaluation;
pub mod explanation;
pub mod figures;
pub mod folder_lock;
pub mod images;
pub mod progress;
pub mod report;
pub mod run_dir;
pub mod tables;
pub mod training;
pub mod tree;

use std::process::ExitCode;

use clap::Parser;

/// Parses the process's arguments and runs the command they name.
///
/// Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.
pub fn run() -> ExitCode {
    sib_core::device::keep_freed_memory();
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error::report(&error)),
    }
}
