//! `sib-cli bench`: how long the expensive parts take, as ratios.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use sib_core::checkpoint::write_tensors;
use sib_core::data::{self, DataOptions, Dataset, DatasetName, Loader, LoaderOptions, Split};
use sib_core::objective::SibConfig;
use sib_core::train;
use sib_explain::{Method, MethodOptions};
use sib_metrics::faithfulness::Protocol;
use sib_models::Precision;

use crate::bench::candidate::Candidate;
use crate::bench::explain::Explanations;
use crate::bench::faithfulness::Curves;
use crate::bench::gradients::{self, Way};
use crate::bench::inputs::InputArguments;
use crate::bench::loader::Epochs;
use crate::bench::step::{Steps, Variant};
use crate::bench::{Workload, alone, in_lockstep};
use crate::checkpoint::{self, Checkpoint};
use crate::config::DataConfig;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// An update, plain, with S-IB, and that with activation checkpointing
    Step {
        #[command(flatten)]
        inputs: InputArguments,
        /// One more variant: S-IB with these settings, as "vjp.at=layer3 images=4"; repeatable
        #[arg(long = "candidate", value_name = "KEY=VALUE ...")]
        candidates: Vec<Candidate>,
        /// Only one of them: for its memory
        #[arg(long, value_name = "VARIANT")]
        only: Option<String>,
        /// Numbers to compute with: f32, tf32 (GPUs) or bf16
        #[arg(long, default_value = "f32")]
        precision: train::Precision,
        #[command(flatten)]
        run: Run,
    },
    /// No times: how far each term's gradient by cheaper settings, or in another precision, is from the exact one
    Gradients {
        /// Trained network: a file, or the folder of a run
        #[arg(long, value_name = "CKPT")]
        checkpoint: PathBuf,
        /// What to compare: S-IB with these settings, as "vjp.at=layer3 images=4"; repeatable [default: as it is]
        #[arg(long = "candidate", value_name = "KEY=VALUE ...")]
        candidates: Vec<Candidate>,
        /// Numbers that candidates compute with: f32, tf32 (GPUs) or bf16
        #[arg(long, default_value = "f32")]
        precision: train::Precision,
        /// Settings of S-IB in all, the exact one included
        #[arg(long = "set", value_name = "KEY=VALUE ...", default_value = "")]
        settings: Candidate,
        #[arg(long, value_name = "NAME", help = format!("Dataset: {}", DatasetName::listed()))]
        data: DatasetName,
        /// Folder of the unpacked archive
        #[arg(long, value_name = "DIR", default_value = "")]
        root: PathBuf,
        /// Images of a batch, by chance from the training split
        #[arg(long, default_value_t = 32)]
        batch_size: usize,
        /// Batches to compare
        #[arg(long, default_value_t = 32)]
        batches: usize,
        /// cpu, cuda or cuda:N
        #[arg(long, default_value = "cpu")]
        device: String,
    },
    /// Heatmaps of a batch for the classes of its labels
    Explain {
        #[command(flatten)]
        inputs: InputArguments,
        /// Method by name
        #[arg(long, default_value = "score-cam")]
        method: Method,
        /// Numbers to compute with: f32 or bf16
        #[arg(long, default_value_t)]
        precision: Precision,
        /// Change an option of the method; repeatable
        #[arg(long = "set", value_name = "KEY=VALUE")]
        assignments: Vec<String>,
        #[command(flatten)]
        run: Run,
    },
    /// Insertion and deletion curves of a batch
    Faithfulness {
        #[command(flatten)]
        inputs: InputArguments,
        /// Numbers to compute with: f32 or bf16
        #[arg(long, default_value_t)]
        precision: Precision,
        /// Pixels from one point of a curve to the next
        #[arg(long, default_value_t = Protocol::default().step_px)]
        step_px: usize,
        #[command(flatten)]
        run: Run,
    },
    /// An epoch of a dataset's training images: decoded, resized, cropped, batched
    Loader {
        #[arg(long, value_name = "NAME", help = format!("Dataset: {}", DatasetName::listed()))]
        data: DatasetName,
        /// Folder of the unpacked archive
        #[arg(long, value_name = "DIR", default_value = "")]
        root: PathBuf,
        /// Images a batch
        #[arg(long, default_value_t = 64)]
        batch_size: usize,
        /// Random resized crop and flip in place of resize and centre crop
        #[arg(long)]
        augment: bool,
        #[command(flatten)]
        run: Run,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// How often each variant runs, after one run that does not count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,
    /// Run what standard input names, line by line, and answer with seconds and a value
    #[arg(long)]
    lockstep: bool,
    /// Write what the last run came to
    #[arg(long, value_name = "FILE.safetensors")]
    output: Option<PathBuf>,
}

impl Run {
    fn time(&self, work: &mut dyn Workload) -> Result<()> {
        if self.lockstep {
            in_lockstep(work)?;
        } else {
            alone(work, self.repeat.into())?;
        }
        if let Some(path) = &self.output {
            write_tensors(path, &work.outputs(), &[].into())?;
        }
        Ok(())
    }
}

/// Times one of the workloads.
pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        What::Step { inputs, candidates, only, precision, run } => {
            let read = inputs.read()?;
            let variants = Variant::all(inputs, &read, candidates, only.as_deref())?;
            run.time(&mut Steps::new(&variants, read, *precision)?)
        }
        What::Gradients {
            checkpoint,
            candidates,
            precision,
            settings,
            data,
            root,
            batch_size,
            batches,
            device,
        } => {
            let path = checkpoint::file(checkpoint)?;
            let Checkpoint { model, transform, meta, device, .. } =
                Checkpoint::open(&path, device, Precision::F32)?;
            precision.validate(device)?;
            let (arch, image_px) = (model.arch(), meta.preprocessing.crop_px);
            let sib = settings.objective(&SibConfig::default(), arch, image_px)?;
            let way = |candidate: &Candidate| -> Result<Way> {
                let sib = candidate.objective(&sib, arch, image_px)?;
                sib.check_batch(*batch_size as u64, 1)?;
                Ok(Way { name: candidate.name().to_owned(), sib, precision: *precision })
            };
            let mut ways = candidates.iter().map(way).collect::<Result<Vec<_>>>()?;
            if ways.is_empty() {
                ways.push(Way { name: precision.to_string(), ..way(settings)? });
            }
            let exact = Way { name: String::new(), sib, precision: train::Precision::F32 };
            gradients::expect_ways(&exact, &ways)?;
            let ground_truth = gradients::annotation(&exact, &ways)?;
            let options = LoaderOptions {
                batch_size: *batch_size,
                shuffle: true,
                drop_last: true,
                ground_truth,
                device,
                ..LoaderOptions::default()
            };
            let dataset = training_images(*data, root)?;
            ground_truth.map_or(Ok(()), |kind| dataset.expect_annotated(kind))?;
            let images = Loader::new(dataset, transform, options)?;
            let (net, parameters) = (model.backbone(), model.parameters());
            gradients::compare(net, &parameters, &images, *batches, &exact, &ways)
        }
        What::Explain { inputs, method, precision, assignments, run } => {
            let mut options = MethodOptions::default();
            for assignment in assignments {
                options.set(assignment)?;
            }
            let read = inputs.read()?;
            let network = inputs.model()?.inference_form(*precision);
            run.time(&mut Explanations::new(network, *method, &options, read)?)
        }
        What::Faithfulness { inputs, precision, step_px, run } => {
            let protocol = Protocol { step_px: *step_px, ..Protocol::default() };
            let read = inputs.read()?;
            let network = inputs.model()?.inference_form(*precision);
            run.time(&mut Curves::new(network, protocol, read))
        }
        What::Loader { data, root, batch_size, augment, run } => {
            let dataset = training_images(*data, root)?;
            let config = DataConfig { augment: *augment, ..DataConfig::default() };
            let options = LoaderOptions {
                batch_size: *batch_size,
                shuffle: true,
                ..LoaderOptions::default()
            };
            let loader = Loader::new(dataset, config.train_transform()?, options)?;
            run.time(&mut Epochs::new(loader))
        }
    }
}

fn training_images(data: DatasetName, root: &Path) -> Result<Dataset> {
    let options = DataOptions { allow_missing: true, ..DataOptions::default() };
    Ok(data::open(data, root, Split::Train, &options)?)
}
