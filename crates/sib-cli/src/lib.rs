//! The command line of S-IB as a library; `main.rs` only calls [`run`].

pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod config;
pub mod csv_rows;
pub mod dotted;
pub mod environment;
pub mod error;
pub mod evaluation;
pub mod explanation;
pub mod figures;
pub mod folder_lock;
pub mod images;
pub mod left_out;
pub mod output;
pub mod progress;
pub mod report;
mod reproduce;
pub mod run_dir;
pub mod run_record;
pub mod tables;
pub mod training;
pub mod tree;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::Parser;

/// Parses the process's arguments and runs the command they name.
///
/// Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.
pub fn run() -> ExitCode {
    sib_core::device::keep_freed_memory();
    let cli = cli::Cli::parse();
    // tch panics where libtorch refuses, most often for want of memory: an error to a user, in one
    // line.
    if std::env::var_os("RUST_BACKTRACE").is_none_or(|value| value == "0") {
        panic::set_hook(Box::new(|_| {}));
    }
    match panic::catch_unwind(AssertUnwindSafe(|| cli.run())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => ExitCode::from(error::report(&error)),
        Err(panic) => ExitCode::from(error::report_panic(panic.as_ref())),
    }
}
