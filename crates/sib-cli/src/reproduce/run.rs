//! Runs a plan, step by step.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::joined;
use super::plan::{Plan, Step, Work};
use crate::error::{message, with_hint};
use crate::processes::Passed;
use crate::run::CONFIG;
use crate::{note, output};

/// What to do about a plan that is not done.
const GO_ON: &str = "the same command goes on from here: what is done is not repeated";

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
    /// A step that it needs was not done.
    LeftOut,
}

/// Runs the steps of `plan` that no earlier call has done. A step that fails does not stop the others.
///
/// # Errors
/// Names the steps that failed.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let signals = Passed::watch()?;
    plan.remarks.iter().for_each(|remark| note!("{remark}"));
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(plan.steps.len());
    for (number, step) in plan.steps.iter().enumerate() {
        let is_shown = matches!(step.work, Work::Show { .. } | Work::Join { .. });
        let trained = plan.steps.iter().zip(&outcomes);
        let mut trained = trained.filter(|(step, _)| matches!(step.work, Work::Train { .. }));
        let outcome = if step.needs.iter().any(|&needed| outcomes[needed] != Outcome::Done)
            || is_shown && step.needs.is_empty() && trained.all(|(_, it)| *it != Outcome::Done)
        {
            Outcome::LeftOut
        } else {
            one(step, &program, &signals, &format!("{} of {}", number + 1, plan.steps.len()))
        };
        if signals.have_told_to_end() {
            let error = anyhow::anyhow!("told to end in {}", step.title);
            return Err(with_hint(error, GO_ON));
        }
        if outcome == Outcome::LeftOut {
            note!("\n== {}: left out, what it needs has failed", step.title);
        }
        outcomes.push(outcome);
    }
    let written: Vec<&PathBuf> =
        plan.steps.iter().flat_map(files).filter(|it| it.is_file()).collect();
    for file in written {
        note!("written: {}", file.display());
    }
    let steps = plan.steps.iter().zip(outcomes);
    let failed: Vec<&str> = steps
        .filter(|(_, outcome)| *outcome == Outcome::Failed)
        .map(|(step, _)| step.title.as_str())
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let error = anyhow::anyhow!("failed: {}", failed.join(", "));
    Err(with_hint(error, GO_ON))
}

/// Runs a step, number `place`, unless it is done.
fn one(step: &Step, program: &Path, signals: &Passed, place: &str) -> Outcome {
    let Step { title, work, .. } = step;
    if work.is_done() {
        note!("\n== {place}: {title} (done before)");
        return Outcome::Done;
    }
    note!("\n== {place}: {title}");
    match call(work, program, signals) {
        Ok(()) => Outcome::Done,
        // Its end was asked for, which is said once.
        Err(_) if signals.have_told_to_end() => Outcome::Failed,
        Err(error) => {
            output::error(format_args!("error: {title}: {}", message(&error)));
            Outcome::Failed
        }
    }
}

fn call(work: &Work, program: &Path, signals: &Passed) -> Result<()> {
    if let Work::Join { output, summaries, gradient_norms } = work {
        write(summaries, &joined::summaries(output)?)?;
        return write(gradient_norms, &joined::gradient_norms(output)?);
    }
    if let Work::Train { run, .. } = work {
        discard_unsaved(run)?;
    }
    let arguments = work.arguments().unwrap_or_default();
    let mut child = Command::new(program).args(arguments).spawn().context("cannot start")?;
    let status = signals.wait(&mut child).context("cannot wait for its end")?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}

/// Removes a run's folder that was made, but in which nothing was saved yet to go on from. A folder that is
/// no run's is not ours to remove: `train` refuses it.
fn discard_unsaved(run: &Path) -> Result<()> {
    let is_saved = run.join("checkpoints/last.safetensors").is_file();
    if is_saved || !run.join(CONFIG).is_file() {
        return Ok(());
    }
    let removed = (|| {
        // The configuration after all else: as long as it is there, what is left is known for a run's.
        for entry in fs::read_dir(run)? {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            } else if !path.ends_with(CONFIG) {
                fs::remove_file(path)?;
            }
        }
        fs::remove_dir_all(run)
    })();
    Ok(removed.map_err(sib_core::Error::io("remove", run))?)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    Ok(sib_core::checkpoint::write_atomic(path, |file| file.write_all(content))?)
}

/// The files that show what all runs came to.
fn files(step: &Step) -> Vec<&PathBuf> {
    match &step.work {
        Work::Show { files, .. } => files.iter().collect(),
        Work::Join { summaries, gradient_norms, .. } => vec![summaries, gradient_norms],
        _ => Vec::new(),
    }
}
