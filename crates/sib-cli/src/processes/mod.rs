//! A command in several processes: how they find each other, and which of them says what.

mod launcher;
mod signals;

pub use signals::{Passed, Signals};

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use sib_core::device;
use sib_core::group::{Group, Launch};
use tch::Device;

use crate::environment::libtorch_version;
use crate::error::{told, usage};
use crate::output;

/// Arguments of a command that several processes may share.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Arguments {
    /// Share the work between N processes of this machine, one a GPU with --device cuda. Those that torchrun,
    /// mpirun or srun has started find each other without it
    #[arg(long, value_name = "N")]
    processes: Option<NonZeroUsize>,
    /// Longest wait of a process for the others
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout_seconds: u64,
}

/// This process among those that share a command.
#[derive(Debug, Clone)]
pub struct Member {
    pub group: Group,
    pub device: Device,
    /// Threads that are its share of the machine's cores; `None` for all.
    pub threads: Option<NonZeroUsize>,
}

/// What errors are reported by.
static GROUP: OnceLock<Group> = OnceLock::new();

/// Finds the other processes of the command, where there are any, and the device called `device_name`: of `cuda`
/// without a number the one of this process's place on its machine. `None` where this process has started the
/// others and is done.
///
/// # Errors
/// When they do not come together, or the device cannot be had; when one of those that it has started fails.
pub fn join(arguments: &Arguments, device_name: &str) -> Result<Option<Member>> {
    let launch = Launch::from_env()?;
    let asked = arguments.processes.map(NonZeroUsize::get);
    match (&launch, asked) {
        (Some(launch), Some(asked)) if asked != launch.size => {
            let started = launch.size;
            return Err(usage(format!(
                "--processes: got {asked}, but this is one of {started} processes already"
            )));
        }
        (None, Some(asked)) if asked > 1 => {
            device::parse(device_name)?;
            launcher::run(asked)?;
            return Ok(None);
        }
        _ => {}
    }
    let Some(launch) = launch else {
        let device = device::parse(device_name)?;
        return Ok(Some(Member { group: Group::alone(), device, threads: None }));
    };
    if launch.rank > 0 {
        output::silence(true);
    }
    launcher::end_with_parent();
    let device = match device_name {
        "cuda" => device::parse(&format!("cuda:{}", launch.local_rank))?,
        name => device::parse(name)?,
    };
    let threads = launch.local_size.map(share_of_cores);
    if let Some(threads) = threads.filter(|_| std::env::var_os("OMP_NUM_THREADS").is_none()) {
        tch::set_num_threads(threads.get() as i32);
    }
    let timeout = Duration::from_secs(arguments.timeout_seconds);
    let group = Group::join(&launch, device, timeout)?;
    let _ = GROUP.set(group.clone());
    Ok(Some(Member { group, device, threads }))
}

/// Refuses to run a command that cannot be shared in several processes.
///
/// # Errors
/// Where this process is one of several.
pub fn expect_one() -> Result<()> {
    match Launch::from_env()? {
        None => Ok(()),
        Some(Launch { rank: 1.., .. }) => Err(told(2)),
        Some(Launch { size, .. }) => Err(usage(format!(
            "got {size} processes of this command, expected one: train, evaluate, explain and predict share their work"
        ))),
    }
}

/// What processes that share a command have to agree on, whatever it is.
pub fn of_one_program() -> Vec<(String, String)> {
    let unknown = || "unknown".to_owned();
    vec![
        ("sib-cli's version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("sib-cli's commit".to_owned(), env!("SIB_COMMIT").to_owned()),
        ("libtorch's version".to_owned(), libtorch_version().unwrap_or_else(unknown)),
    ]
}

fn share_of_cores(processes: usize) -> NonZeroUsize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(cores / processes.max(1)).unwrap_or(NonZeroUsize::MIN)
}

/// What a failure is told as.
pub enum Voice {
    /// As it is.
    Own,
    /// With this before it.
    Of(String),
    /// Another process tells it.
    Silent,
}

/// Leaves the other processes after a failure; says how it is told.
pub fn leave() -> Voice {
    let Some(group) = GROUP.get() else { return Voice::Own };
    // Whoever has started this process knows better which one was lost, and how.
    let is_told = group.leave() && !(group.is_broken() && launcher::is_parent());
    if !is_told {
        return Voice::Silent;
    }
    output::silence(false);
    match group.part().index() {
        0 => Voice::Own,
        rank => Voice::Of(format!("rank {rank}: ")),
    }
}

/// What is said where an operation of the group has failed; `None` where none has.
pub fn lost(message: &str) -> Option<String> {
    const WORDS: &str = "has lost another";
    let group = GROUP.get().filter(|group| group.is_broken())?;
    if let Some(at) = message.find("rank ").filter(|_| message.contains(WORDS)) {
        return Some(message[at..].to_owned());
    }
    let (part, reason) = (group.part(), message.rsplit("] ").next().unwrap_or(message));
    Some(format!("rank {} of {} {WORDS}: {reason}", part.index(), part.of()))
}
