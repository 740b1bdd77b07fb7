//! `sib-cli doctor`: what there is to compute with.

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
    let environment = Environment::of(tch::Device::Cpu);
    println!("sib-cli   {}", environment.sib_cli);
    println!("libtorch  {}", environment.libtorch);
    if let Some(folder) = &environment.libtorch_folder {
        println!("found in  {}", folder.display());
    }
    println!("platform  {}", environment.platform);
    println!("threads   {} of {} cores", environment.threads, environment.cores);
    match device::cuda_devices() {
        Ok(count) => {
            println!("cuda      {count} device(s)");
            println!("cudnn     {}", if Cuda::cudnn_is_available() { "yes" } else { "no" });
        }
        Err(reason) => println!("cuda      none: {reason}"),
    }
    device::parse(&arguments.device)?;
    Ok(())
}
