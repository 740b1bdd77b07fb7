//! `sib-cli doctor`: what there is to compute with.

use std::io;

use anyhow::Result;
use clap::Args;
use sib_core::device;

use crate::doctor;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Fail unless this device can be had: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Time a product of matrices and a training step on that device too: about ten seconds
    #[arg(long)]
    time: bool,
}

/// Prints the environment and what CUDA offers, then insists on the device asked for.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut out = io::stdout().lock();
    doctor::describe(&mut out)?;
    device::parse(&arguments.device)?;
    if arguments.time { doctor::time(&arguments.device, &mut out) } else { Ok(()) }
}
