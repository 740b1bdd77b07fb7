//! Benchmarks: pieces of work that are timed against each other, interleaved, in one process.
//!
//! Alone, `sib-cli bench` repeats its variants in turn and prints ratios. In lockstep, another
//! process says on standard input which variant is due next, so that it can interleave them with
//! work of its own on the same machine (`scripts/bench_peers.py`).

pub mod candidate;
pub mod explain;
pub mod faithfulness;
pub mod gradients;
pub mod inputs;
pub mod loader;
pub mod step;

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use sib_core::device;
use tch::{Device, Tensor};

/// Work in one or several variants.
pub trait Workload {
    /// Names of the variants; the first is what the others are compared with.
    fn variants(&self) -> Vec<String>;

    /// Does the work once; returns a number by which it can be compared with another's, such as a
    /// loss.
    ///
    /// # Errors
    /// Whatever keeps the work from being done.
    fn run(&mut self, variant: &str) -> Result<f64>;

    /// How often one run does the work; its seconds are divided by this.
    fn times(&self, variant: &str) -> u64 {
        let _ = variant;
        1
    }

    /// Where the work is done.
    fn device(&self) -> Device {
        Device::Cpu
    }

    /// What the last runs came to, for comparison with another program's.
    fn outputs(&self) -> BTreeMap<String, Tensor> {
        BTreeMap::new()
    }
}

/// Repeats all variants in turn, after one that does not count, and prints medians, ratios and their
/// spread (first and third quartile).
///
/// # Errors
/// When a run fails.
pub fn alone(work: &mut dyn Workload, repeat: usize) -> Result<()> {
    let variants = work.variants();
    let mut seconds = vec![Vec::new(); variants.len()];
    for round in 0..=repeat {
        for (variant, seconds) in variants.iter().zip(&mut seconds) {
            let started = Instant::now();
            work.run(variant)?;
            device::wait(work.device());
            if round > 0 {
                seconds.push(started.elapsed().as_secs_f64() / work.times(variant) as f64);
            }
        }
    }
    let mut out = io::stdout().lock();
    writeln!(out, "variant,seconds,ratio,ratio_q1,ratio_q3,repeats")?;
    for (variant, times) in variants.iter().zip(&seconds) {
        // Round by round, so that what slows the machine down slows both.
        let ratios: Vec<f64> = times.iter().zip(&seconds[0]).map(|(a, b)| a / b).collect();
        let [q1, ratio, q3] = [0.25, 0.5, 0.75].map(|q| quantile(&ratios, q));
        let time = quantile(times, 0.5);
        writeln!(out, "{variant},{time:.4},{ratio:.3},{q1:.3},{q3:.3},{repeat}")?;
    }
    print_peak(work, &mut out)
}

/// Runs the variants that standard input names, a line each, and answers `seconds value`; at its end
/// prints the peak of memory: of tensors on a GPU, resident without one.
///
/// # Errors
/// When a run fails or a variant is unknown.
pub fn in_lockstep(work: &mut dyn Workload) -> Result<()> {
    let variants = work.variants();
    let mut out = io::stdout().lock();
    writeln!(out, "ready {}", variants.join(" "))?;
    for line in io::stdin().lock().lines() {
        let variant = line.context("standard input")?;
        let variant = variant.trim();
        if !variants.iter().any(|known| known == variant) {
            bail!("variant {variant}: expected one of {}", variants.join(", "));
        }
        let started = Instant::now();
        let value = work.run(variant)?;
        device::wait(work.device());
        let seconds = started.elapsed().as_secs_f64() / work.times(variant) as f64;
        writeln!(out, "{seconds} {value}")?;
    }
    print_peak(work, &mut out)
}

fn print_peak(work: &dyn Workload, out: &mut impl Write) -> Result<()> {
    let of_tensors = device::peak_bytes(work.device()).map(|bytes| bytes as f64 / 1024.0 / 1024.0);
    if let Some(mib) = of_tensors.or_else(peak_resident_mib) {
        writeln!(out, "peak_mib {mib:.0}")?;
    }
    Ok(())
}

/// Most memory that was ever resident, in MiB; known on Linux.
fn peak_resident_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}

/// Quantile by linear interpolation between order statistics; `values` is not empty.
fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!([0.0, 0.5, 1.0].map(|q| quantile(&values, q)), [1.0, 2.5, 4.0]);
    }
}
