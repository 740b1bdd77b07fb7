//! `sib-cli explain`: heatmaps of images as raw maps, overlays, contact sheets and a manifest.

mod maps;
mod sheets;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use sib_core::data::transform::{LoadedImage, load_image};
use sib_core::nearest;
use sib_explain::render::{Colormap, Shading, Style};
use sib_explain::{
    Explainer, Explanation, Method, MethodOptions, Target, TargetScores, target_scores,
};
use sib_models::Precision;
use tch::Tensor;

use crate::checkpoint::{self, Checkpoint};
use crate::environment::Environment;
use crate::error::{usage, with_hint};
use crate::evaluation::network::{Network, StoredConfig};
use crate::explanation::manifest::{Manifest, Which};
use crate::explanation::{self, Description};
use crate::images;
use crate::progress::Progress;
use sheets::Sheets;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Trained network: a file, or the folder of a run
    #[arg(long, value_name = "CKPT")]
    checkpoint: PathBuf,
    /// A second network: rows before (this one) and after, and the signed difference
    #[arg(long, value_name = "CKPT")]
    compare: Option<PathBuf>,
    /// Images, or folders of images
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    image: Vec<PathBuf>,
    /// Methods by name, or all: the paper's six and the S-IB map
    #[arg(long, value_name = "all|NAME[,NAME]...", value_delimiter = ',', default_value = "all")]
    method: Vec<String>,
    /// Class to explain: predicted, a class name or a class index
    #[arg(long, default_value = "predicted")]
    target: String,
    /// Folder to write to, new or empty
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Replace the explanation that the folder holds
    #[arg(long)]
    overwrite: bool,
    /// Change an option of a method, as integrated-gradients.steps=100; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
    /// Images (or masked copies) of one forward pass [default: each method's own]
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    batch_size: Option<i64>,
    /// turbo, viridis, inferno, magma, plasma, cividis, grey or red-blue
    #[arg(long, default_value_t = Colormap::default())]
    colormap: Colormap,
    /// Opacity of the heatmap over the image, 0 to 1
    #[arg(long, default_value_t = Style::default().alpha)]
    alpha: f32,
    /// Images a contact sheet; 0: no sheet
    #[arg(long, default_value_t = 12)]
    sheet_images: usize,
    /// Numbers of passes without gradient (logits, score-cam): f32 or bf16
    #[arg(long, default_value_t)]
    precision: Precision,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// Images that are in memory at a time.
const CHUNK: usize = 16;

/// Explains every image by every method. An image that cannot be read is reported and left out; the
/// command then fails at its end.
pub fn run(arguments: &Arguments) -> Result<()> {
    explanation::expect_free(&arguments.output, arguments.overwrite)?;
    let session = Session::prepare(arguments)?;
    let images = images::expand(&arguments.image)?;
    let stems = images::stems(&images);
    let mut description = session.describe()?;
    std::fs::create_dir_all(&arguments.output)
        .map_err(sib_core::Error::io("create", &arguments.output))?;
    explanation::clear(&arguments.output)?;
    let mut manifest = Manifest::create(&arguments.output)?;
    let mut sheets = Sheets::new(&session, arguments.sheet_images);
    let mut progress = Progress::new("explain", images.len() as u64, 0, "images");
    let mut unreadable = 0;
    for (paths, stems) in images.chunks(CHUNK).zip(stems.chunks(CHUNK)) {
        let mut subjects = Vec::new();
        for (path, stem) in paths.iter().zip(stems) {
            match load_image(path, &session.checkpoint.transform) {
                Ok(image) => subjects.push(Subject { path, stem, image }),
                Err(error) => {
                    progress.println(&format!("error: {error}"));
                    unreadable += 1;
                }
            }
        }
        if !subjects.is_empty() {
            session.explain(&subjects, &mut manifest, &mut sheets)?;
        }
        description.images.extend(subjects.iter().map(Subject::described));
        progress.advance(paths.len() as u64, String::new);
    }
    sheets.finish()?;
    manifest.finish()?;
    description.write(&arguments.output)?;
    progress.finish();
    match unreadable {
        0 => Ok(()),
        n => bail!("{n} of {} images could not be read", images.len()),
    }
}

/// An image that is explained.
struct Subject<'a> {
    path: &'a Path,
    stem: &'a str,
    image: LoadedImage,
}

impl Subject<'_> {
    fn described(&self) -> explanation::Image {
        explanation::Image { path: self.path.to_owned(), stem: self.stem.to_owned() }
    }
}

/// One network's heatmaps of a chunk of images, with what it says of them.
struct Explained {
    scores: TargetScores,
    /// For each method.
    heatmaps: Vec<Heatmaps>,
}

/// One method's heatmaps of a chunk of images.
struct Heatmaps {
    /// `[B,H,W]`.
    maps: Tensor,
    /// `[B]`, of methods that have one.
    completeness_error: Option<Tensor>,
    seconds_an_image: f64,
}

/// All that is fixed before the first image.
struct Session<'a> {
    checkpoint: Checkpoint,
    baseline: Option<Checkpoint>,
    /// Files of the two.
    paths: (PathBuf, Option<PathBuf>),
    methods: Vec<(Method, Box<dyn Explainer>)>,
    options: MethodOptions,
    target: Option<i64>,
    style: Style,
    output: &'a Path,
}

impl<'a> Session<'a> {
    fn prepare(arguments: &'a Arguments) -> Result<Self> {
        let methods = super::methods(&arguments.method)?;
        let mut options = MethodOptions { batch_size: arguments.batch_size, ..Default::default() };
        for assignment in &arguments.assignments {
            options.set(assignment)?;
        }
        let style = Style {
            shading: Shading::Sequential(arguments.colormap),
            alpha: arguments.alpha,
            ..Style::default()
        };
        style.validate()?;
        let build = |method: Method| Ok((method, method.build(&options)?));
        let methods = methods.into_iter().map(build).collect::<Result<Vec<_>>>()?;

        let path = checkpoint::file(&arguments.checkpoint)?;
        let checkpoint = Checkpoint::open(&path, &arguments.device, arguments.precision)?;
        let target = target_class(&arguments.target, &checkpoint)?;
        let open = |path: &PathBuf| -> Result<(Checkpoint, PathBuf)> {
            let path = checkpoint::file(path)?;
            let baseline = Checkpoint::open(&path, &arguments.device, arguments.precision)?;
            if baseline.meta.classes != checkpoint.meta.classes
                || baseline.meta.preprocessing != checkpoint.meta.preprocessing
            {
                return Err(usage(format!(
                    "--compare {}: its classes or preprocessing are not those of {}",
                    path.display(),
                    arguments.checkpoint.display()
                )));
            }
            Ok((baseline, path))
        };
        let baseline = arguments.compare.as_ref().map(open).transpose()?;
        let output = &arguments.output;
        let (baseline, baseline_path) = baseline.unzip();
        let paths = (path, baseline_path);
        Ok(Self { checkpoint, baseline, paths, methods, options, target, style, output })
    }

    /// What `explanation.toml` will say, but for the images.
    fn describe(&self) -> Result<Description> {
        let network = |checkpoint: &Checkpoint, path: &Path| -> Result<Network> {
            let meta = &checkpoint.meta;
            Ok(Network::of(meta, &StoredConfig::of(meta, path)?, path))
        };
        let baseline = self.baseline.as_ref().zip(self.paths.1.as_ref());
        Ok(Description {
            target: self.target,
            methods: self.methods.iter().map(|(method, _)| *method).collect(),
            network: network(&self.checkpoint, &self.paths.0)?,
            baseline: baseline.map(|(baseline, path)| network(baseline, path)).transpose()?,
            preprocessing: self.checkpoint.meta.preprocessing.clone(),
            method_options: self.options.clone(),
            environment: Environment::of(self.checkpoint.device),
            images: Vec::new(),
        })
    }

    /// Heatmaps of `checkpoint` for `images` `[B,3,H,W]`, of the classes `targets` or the predicted.
    fn heatmaps(
        &self,
        checkpoint: &Checkpoint,
        images: &Tensor,
        targets: Option<&Tensor>,
    ) -> Result<Explained> {
        let net = checkpoint.backbone.as_ref();
        let scores = target_scores(net, images, targets, CHUNK as i64)?;
        let explain = |(method, explainer): &(Method, Box<dyn Explainer>)| {
            let started = Instant::now();
            let Explanation { heatmaps, completeness_error } = explainer
                .explain_with_error(net, images, &Target::class(&scores.targets))
                .with_context(|| method.to_string())?;
            Ok(Heatmaps {
                maps: heatmaps.to_device(tch::Device::Cpu),
                completeness_error,
                seconds_an_image: started.elapsed().as_secs_f64() / images.size()[0] as f64,
            })
        };
        let heatmaps = self.methods.iter().map(explain).collect::<Result<_>>()?;
        Ok(Explained { scores, heatmaps })
    }

    fn explain(
        &self,
        subjects: &[Subject<'_>],
        manifest: &mut Manifest,
        sheets: &mut Sheets<'_>,
    ) -> Result<()> {
        let inputs: Vec<&Tensor> = subjects.iter().map(|subject| &subject.image.input).collect();
        let images = Tensor::stack(&inputs, 0).to_device(self.checkpoint.device);
        let given = self.target.map(|class| {
            Tensor::full([subjects.len() as i64], class, (tch::Kind::Int64, images.device()))
        });
        let ours = self.heatmaps(&self.checkpoint, &images, given.as_ref())?;
        // The baseline is asked about the same class: a difference of two classes says nothing.
        let theirs = match &self.baseline {
            Some(baseline) => Some(self.heatmaps(baseline, &images, Some(&ours.scores.targets))?),
            None => None,
        };
        for (index, subject) in subjects.iter().enumerate() {
            let maps = self.write(index, subject, Which::Checkpoint, &ours, manifest)?;
            match &theirs {
                None => sheets.push(subject, &ours, index, maps)?,
                Some(theirs) => {
                    let before = self.write(index, subject, Which::Baseline, theirs, manifest)?;
                    self.write_differences(subject, &before, &maps)?;
                    sheets.push_pair(subject, (theirs, before), (&ours, maps), index)?;
                }
            }
        }
        Ok(())
    }
}

/// `predicted`, or a class of the network by its name or its index.
fn target_class(text: &str, checkpoint: &Checkpoint) -> Result<Option<i64>> {
    if text == "predicted" {
        return Ok(None);
    }
    let number = checkpoint.model.num_classes();
    let classes = &checkpoint.meta.classes;
    let named = classes.iter().position(|class| class == text).map(|index| index as i64);
    let index = text.parse().ok().filter(|index| (0..number).contains(index));
    match (named, index) {
        (Some(named), Some(index)) if named != index => Err(usage(format!(
            "--target: got {text}, which is the name of class {named} and the index of {}",
            checkpoint.class_name(index)
        ))),
        (Some(class), _) | (None, Some(class)) => Ok(Some(class)),
        (None, None) => {
            let error = usage(format!(
                "--target: got {text}, expected predicted, a class name or a class index from 0 to {}",
                number - 1
            ));
            Err(match nearest::key(text, classes) {
                Some(meant) => with_hint(error, format!("did you mean {meant}?")),
                None => error,
            })
        }
    }
}
