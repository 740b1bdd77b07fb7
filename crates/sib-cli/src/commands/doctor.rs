//! `sib-cli doctor`: what there is to compute with.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use sib_core::device;

use crate::doctor::{self, Machine};
use crate::output;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Fail unless this device can be had: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Time a product of matrices and a training step on that device too: about ten seconds
    #[arg(long)]
    time: bool,
    /// Print what there is as JSON
    #[arg(long, conflicts_with = "time")]
    json: bool,
}

/// Prints the environment and what CUDA offers, then insists on the device asked for.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut out = output::results();
    let machine = Machine::look();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(&machine)?)?;
    } else {
        doctor::describe(&machine, &mut out)?;
    }
    device::parse(&arguments.device)?;
    if arguments.time { doctor::time(&arguments.device, &mut out) } else { Ok(()) }
}
