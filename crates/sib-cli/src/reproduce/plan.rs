//! Steps in their order, as data: what each does, what it needs, and how it is printed.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use sib_core::Error;
use sib_models::{Arch, Model, ModelOptions};

use crate::config::Config;
use crate::estimate::Estimator;

/// Steps in their order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(super) steps: Vec<Step>,
    /// What differs from what the profile's name promises.
    pub(super) remarks: Vec<String>,
    /// How many trainings there are of each backbone.
    pub(super) runs: HashMap<Arch, usize>,
}

/// One step.
#[derive(Debug)]
pub(super) struct Step {
    /// What it is, in words.
    pub(super) title: String,
    pub(super) work: Work,
    /// Places of the steps without which it is not tried.
    pub(super) needs: Vec<usize>,
}

/// What a step does.
#[derive(Debug)]
pub(super) enum Work {
    /// A training run: from its start, on from where it was interrupted, or nothing where it has ended.
    Train {
        run: PathBuf,
        arguments: Vec<String>,
        resume: Vec<String>,
        config: PathBuf,
        settings: Vec<String>,
    },
    /// A command that is done once this file is there.
    Make { file: PathBuf, arguments: Vec<String> },
    /// A command that knows by itself what is done.
    Call { arguments: Vec<String> },
    /// A command that shows what all runs came to, in these files.
    Show { files: Vec<PathBuf>, arguments: Vec<String> },
    /// The joined files of all runs in a folder.
    Join { output: PathBuf, summaries: PathBuf, gradient_norms: PathBuf },
}

impl Work {
    /// The arguments of `sib-cli`; `None` where it calls none.
    pub(super) fn arguments(&self) -> Option<&[String]> {
        match self {
            Self::Train { run, arguments, resume, .. } => {
                let interrupted = run.join("checkpoints/last.safetensors").is_file();
                Some(if interrupted { resume } else { arguments })
            }
            Self::Make { arguments, .. }
            | Self::Call { arguments }
            | Self::Show { arguments, .. } => Some(arguments),
            Self::Join { .. } => None,
        }
    }

    /// Whether an earlier call has done it.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Train { run, .. } => run.join("status.toml").is_file(),
            Self::Make { file, .. } => file.is_file(),
            Self::Call { .. } | Self::Show { .. } | Self::Join { .. } => false,
        }
    }
}

impl Plan {
    /// Prints every step with its command, and what it takes; with an `estimator` how long each training takes here.
    ///
    /// # Errors
    /// When the text cannot be written, or steps cannot be timed.
    pub(crate) fn print(
        &self,
        out: &mut impl Write,
        mut estimator: Option<Estimator<'_>>,
    ) -> Result<()> {
        let mut hours = 0.0;
        self.remarks.iter().try_for_each(|remark| writeln!(out, "{remark}"))?;
        for Step { title, work, .. } in &self.steps {
            if work.is_done() {
                writeln!(out, "{title} (done before)")?;
                continue;
            }
            writeln!(out, "{title}")?;
            match work {
                Work::Train { config, settings, .. } => {
                    if let Some(cost) = cost_of(config)? {
                        writeln!(out, "    cost: {cost}")?;
                    }
                    if let Some(estimator) = &mut estimator
                        && let Some(estimate) = estimator.of(&Config::load(config, settings)?)?
                    {
                        writeln!(out, "    here: about {estimate}")?;
                        hours += estimate.hours;
                    }
                }
                Work::Join { summaries, gradient_norms, .. } => {
                    writeln!(out, "    {}, {}", summaries.display(), gradient_norms.display())?;
                }
                _ => {}
            }
            if let Some(arguments) = work.arguments() {
                writeln!(out, "    sib-cli {}", arguments.join(" "))?;
            }
        }
        if estimator.is_some() {
            writeln!(out, "trainings: about {hours:.1} hours, without what is evaluated")?;
        }
        let gigabytes = self.checkpoint_bytes()? as f64 / 1e9;
        writeln!(out, "disk: about {gigabytes:.1} GB of checkpoints")?;
        Ok(())
    }

    /// Bytes of all checkpoints: the last and the best network of each run, and twice the weights of
    /// optimizer state.
    fn checkpoint_bytes(&self) -> Result<usize> {
        let mut sum = 0;
        for (&arch, runs) in &self.runs {
            let model = Model::new(arch, 1000, tch::Device::Cpu, &ModelOptions::default())?;
            let weights: usize = model.parameters().values().map(tch::Tensor::numel).sum();
            sum += runs * 4 * weights * size_of::<f32>();
        }
        Ok(sum)
    }
}

/// What a configuration says that it costs, where it does.
fn cost_of(config: &Path) -> Result<Option<String>> {
    let text = std::fs::read_to_string(config).map_err(Error::io("read", config))?;
    Ok(text.lines().find_map(|line| line.strip_prefix("# Cost: ")).map(str::to_owned))
}
