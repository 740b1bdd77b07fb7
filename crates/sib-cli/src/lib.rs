//! The command line of S-IB as a library; `main.rs` only calls [`run`].

// Modules are private, so that the compiler finds what nothing uses; in them, `pub` is what a file offers
// to the others.
#![allow(unreachable_pub)]

mod bench;
mod checkpoint;
pub mod cli;
mod commands;
mod comparison;
mod config;
mod csv_rows;
mod datasets;
mod doctor;
mod draw;
mod environment;
pub mod error;
mod estimate;
mod evaluation;
mod explanation;
mod failpoint;
mod figures;
mod foreign_text;
#[doc(hidden)]
pub mod fuzzing;
mod images;
mod init;
mod latex;
mod left_out;
mod network;
mod npy;
mod output;
mod own_path;
mod processes;
mod progress;
mod records;
mod report;
mod reproduce;
mod results;
mod run;
mod tables;
mod training;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::Parser;
use sib_core::dotted;

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
