//! What there is to compute with, and how fast it is.

use std::io::{self, Write};
use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use sib_core::device;
use sib_core::train::Precision;
use sib_models::Arch;
use tch::{Cuda, Device, Kind, Tensor};

use crate::bench::Workload;
use crate::bench::inputs::InputArguments;
use crate::bench::step::{Steps, Variant};
use crate::environment::Environment;

/// What there is to compute with.
#[derive(Debug, Serialize)]
pub struct Machine {
    #[serde(flatten)]
    environment: Environment,
    /// CUDA devices.
    cuda_devices: usize,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    cuda_problem: Option<String>,
    cudnn: bool,
    /// What the driver says of each GPU.
    gpus: Vec<String>,
}

impl Machine {
    /// Looks around.
    pub fn look() -> Self {
        let (cuda_devices, cuda_problem) = match device::cuda_devices() {
            Ok(count) => (count, None),
            Err(reason) => (0, Some(reason)),
        };
        Self {
            environment: Environment::of(Device::Cpu),
            cuda_devices,
            cudnn: cuda_devices > 0 && Cuda::cudnn_is_available(),
            cuda_problem,
            gpus: graphics_cards(),
        }
    }
}

/// Prints versions, threads and GPUs.
///
/// # Errors
/// When nobody reads it.
pub fn describe(machine: &Machine, out: &mut impl Write) -> io::Result<()> {
    let Machine { environment, cuda_devices, cuda_problem, cudnn, gpus } = machine;
    writeln!(out, "sib-cli   {}", environment.sib_cli)?;
    writeln!(out, "libtorch  {}", environment.libtorch)?;
    if let Some(folder) = &environment.libtorch_folder {
        writeln!(out, "found in  {}", folder.display())?;
    }
    writeln!(out, "platform  {}", environment.platform)?;
    writeln!(out, "threads   {} of {} cores", environment.threads, environment.cores)?;
    match cuda_problem {
        None => {
            writeln!(out, "cuda      {cuda_devices} device(s)")?;
            writeln!(out, "cudnn     {}", if *cudnn { "yes" } else { "no" })?;
        }
        Some(problem) => writeln!(out, "cuda      none: {problem}")?,
    }
    gpus.iter().try_for_each(|card| writeln!(out, "gpu       {card}"))
}

/// What the driver's tool says of each GPU: number, name, memory, driver, compute capability; nothing where there
/// is no driver.
fn graphics_cards() -> Vec<String> {
    let fields = "--query-gpu=index,name,memory.total,driver_version,compute_cap";
    let asked = Command::new("nvidia-smi").args([fields, "--format=csv,noheader"]).output();
    let Some(answer) = asked.ok().filter(|answer| answer.status.success()) else {
        return Vec::new();
    };
    let card = |line: &str| {
        let parts: Vec<&str> = line.split(',').map(str::trim).collect();
        match parts[..] {
            [index, name, memory, driver, capability] => {
                // bf16 in hardware and TF32 came with capability 8.0.
                let major =
                    capability.split('.').next().and_then(|major| major.parse::<u32>().ok());
                let is_recent = major.is_some_and(|major| major >= 8);
                let kinds = if is_recent { "f32, tf32, bf16" } else { "f32" };
                format!(
                    "{index}: {name}, {memory}, driver {driver}, compute capability {capability} ({kinds})"
                )
            }
            _ => line.to_owned(),
        }
    };
    String::from_utf8_lossy(&answer.stdout).lines().map(card).collect()
}

/// Side of the matrices whose product is timed.
const SIDE: i64 = 2048;

/// Times a product of matrices and a training step of ResNet-50, in about ten seconds, so that a set-up that is not
/// right shows, on the device called `name`.
///
/// # Errors
/// When the device cannot be had, or has too little memory.
pub fn time(name: &str, out: &mut impl Write) -> Result<()> {
    let device = device::parse(name)?;
    let float = (Kind::Float, device);
    let [a, b] = [(); 2].map(|()| Tensor::rand([SIDE, SIDE], float));
    let mut product = || {
        let _ = tch::no_grad(|| a.matmul(&b));
        Ok(())
    };
    let seconds = seconds(device, 5, &mut product)?;
    let rate = 2.0 * (SIDE as f64).powi(3) / seconds / 1e12;
    writeln!(out, "matmul    {rate:.2} TFLOP/s (f32, {SIDE}x{SIDE})")?;

    let batch_size = if device == Device::Cpu { 2 } else { 16 };
    let inputs = InputArguments::new(Arch::ResNet50, batch_size, name);
    let read = inputs.read()?;
    let only = |variant| Variant::all(&inputs, &read, &[], Some(variant));
    let variants = [only("plain")?, only("s-ib")?].into_iter().flatten().collect::<Vec<_>>();
    let mut steps = Steps::new(&variants, read, Precision::F32)?;
    let mut of = |variant: &str| self::seconds(device, 2, &mut || steps.run(variant).map(|_| ()));
    let (plain, s_ib) = (of("plain")?, of("s-ib")?);
    writeln!(
        out,
        "step      {plain:.3} s plain, {s_ib:.3} s with S-IB (ResNet-50, 224 px, {batch_size} images)"
    )?;
    Ok(())
}

/// Seconds of a run of `work`: the shortest of some, after one that does not count.
fn seconds(device: Device, runs: usize, work: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    work()?;
    let mut shortest = f64::INFINITY;
    for _ in 0..runs {
        device::wait(device);
        let started = Instant::now();
        work()?;
        device::wait(device);
        shortest = shortest.min(started.elapsed().as_secs_f64());
    }
    Ok(shortest)
}
