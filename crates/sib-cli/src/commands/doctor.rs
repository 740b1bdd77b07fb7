//! `sib-cli doctor`: what there is to compute with.

use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use sib_core::device;
use tch::Cuda;

use crate::environment::Environment;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Fail unless this device can be had: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// Prints the environment and what CUDA offers, then insists on the device asked for.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut out = io::stdout().lock();
    let environment = Environment::of(tch::Device::Cpu);
    writeln!(out, "sib-cli   {}", environment.sib_cli)?;
    writeln!(out, "libtorch  {}", environment.libtorch)?;
    if let Some(folder) = &environment.libtorch_folder {
        writeln!(out, "found in  {}", folder.display())?;
    }
    writeln!(out, "platform  {}", environment.platform)?;
    writeln!(out, "threads   {} of {} cores", environment.threads, environment.cores)?;
    match device::cuda_devices() {
        Ok(count) => {
            writeln!(out, "cuda      {count} device(s)")?;
            writeln!(out, "cudnn     {}", if Cuda::cudnn_is_available() { "yes" } else { "no" })?;
        }
        Err(reason) => writeln!(out, "cuda      none: {reason}")?,
    }
    device::parse(&arguments.device)?;
    Ok(())
}
