//! Starts the processes of a command on this machine, as torchrun would, and tells how they ended.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::share_of_cores;
use super::signals::{INTERRUPTED, LOOK_EVERY, Passed};
use crate::error::{GO_ON, told, with_hint};

/// Tells a process that this program has started it.
const PARENT: &str = "SIB_LAUNCHED";

/// How long processes have to end once one has failed.
const GRACE: Duration = Duration::from_secs(10);

/// Whether this program has started this process.
pub(super) fn is_parent() -> bool {
    std::env::var_os(PARENT).is_some()
}

/// Lets this process be told to end where the one that started it has gone.
pub(super) fn end_with_parent() {
    if is_parent() {
        // Without it, the others' end is noticed later.
        let _ = set_parent_process_death_signal(Some(Signal::TERM));
    }
}

/// Runs this command in so many processes, and passes signals on to them.
///
/// # Errors
/// When they cannot be started, or one fails: they tell why, or where they cannot, the error says which.
pub(super) fn run(processes: usize) -> Result<()> {
    let signals = Passed::watch()?;
    let mut members = start(processes).context("cannot start processes")?;
    let mut ended: Vec<Option<ExitStatus>> = vec![None; processes];
    let mut failed: Option<Instant> = None;
    while ended.iter().any(Option::is_none) {
        signals.pass(&members);
        for (member, ended) in members.iter_mut().zip(&mut ended) {
            if ended.is_none() {
                *ended = member.try_wait().context("cannot wait for a process")?;
            }
        }
        // One that Ctrl-C has ended did what it should, and another may still be saving.
        let is_asked =
            |status: &ExitStatus| signals.have_told_to_end() && status.code() == Some(INTERRUPTED);
        let is_failure = |status: &ExitStatus| !status.success() && !is_asked(status);
        if failed.is_none() && ended.iter().flatten().any(is_failure) {
            failed = Some(Instant::now());
        }
        if failed.is_some_and(|since| since.elapsed() > GRACE) {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let hung: Vec<usize> = (0..processes).filter(|&rank| ended[rank].is_none()).collect();
    for member in &mut members {
        let _ = member.kill();
        let _ = member.wait();
    }
    if let Some(&rank) = hung.first() {
        return Err(with_hint(anyhow::anyhow!("rank {rank} does not answer"), GO_ON));
    }
    let by_signal = ended.iter().position(|it| it.is_some_and(|it| it.signal().is_some()));
    if let Some(rank) = by_signal {
        let signal = ended[rank].and_then(|status| status.signal()).unwrap_or_default();
        return Err(with_hint(anyhow::anyhow!("rank {rank} was ended by signal {signal}"), GO_ON));
    }
    match ended.into_iter().flatten().find(|status| !status.success()) {
        Some(status) => Err(told(status.code().unwrap_or(1))),
        None => Ok(()),
    }
}

fn start(processes: usize) -> Result<Vec<Child>> {
    let program = std::env::current_exe()?;
    // Free now, and most likely in a moment.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let threads = share_of_cores(processes).to_string();
    let mut members = Vec::new();
    for rank in 0..processes {
        let mut command = Command::new(&program);
        command.args(std::env::args_os().skip(1));
        command.env(PARENT, "1").env("MASTER_ADDR", "127.0.0.1");
        command.env("MASTER_PORT", port.to_string());
        for name in ["WORLD_SIZE", "LOCAL_WORLD_SIZE"] {
            command.env(name, processes.to_string());
        }
        for name in ["RANK", "LOCAL_RANK"] {
            command.env(name, rank.to_string());
        }
        for name in ["OMP_NUM_THREADS", "RAYON_NUM_THREADS"] {
            if std::env::var_os(name).is_none() {
                command.env(name, &threads);
            }
        }
        match command.spawn() {
            Ok(member) => members.push(member),
            Err(error) => {
                members.iter_mut().for_each(|member: &mut Child| {
                    let _ = member.kill();
                });
                bail!(error);
            }
        }
    }
    Ok(members)
}
