//! The networks that are explained, and their heatmaps of a chunk of images.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use sib_core::nearest;
use sib_explain::{Explainer, Explanation, Method, Target, TargetScores, target_scores};
use tch::{Device, Kind, Tensor};

use super::request::{CHUNK, Request};
use crate::checkpoint::{self, Checkpoint};
use crate::error::{usage, with_hint};
use crate::network::Network;

/// One network or two, and what explains them.
#[derive(Debug)]
pub(super) struct Networks {
    pub(super) checkpoint: Checkpoint,
    /// The one that it is compared with.
    pub(super) baseline: Option<Checkpoint>,
    /// The class that is explained; none for the predicted one.
    pub(super) target: Option<i64>,
    /// Files of the two.
    paths: (PathBuf, Option<PathBuf>),
    methods: Vec<(Method, Box<dyn Explainer>)>,
}

/// Heatmaps of a chunk of images by both networks.
#[derive(Debug)]
pub(super) struct Explained {
    pub(super) ours: OfNetwork,
    pub(super) theirs: Option<OfNetwork>,
}

/// One network's heatmaps of a chunk of images, with what it says of them.
#[derive(Debug)]
pub(super) struct OfNetwork {
    /// The classes that are explained and their probabilities.
    pub(super) scores: TargetScores,
    /// For each method.
    pub(super) heatmaps: Vec<Heatmaps>,
}

/// One method's heatmaps of a chunk of images.
#[derive(Debug)]
pub(super) struct Heatmaps {
    /// `[B,H,W]`, on the CPU.
    pub(super) maps: Tensor,
    /// `[B]`, of methods that have one.
    pub(super) completeness_error: Option<Tensor>,
    pub(super) seconds_an_image: f64,
}

impl Networks {
    /// Reads the checkpoints and makes the explainers.
    pub(super) fn open(request: &Request) -> Result<Self> {
        let build = |&method: &Method| Ok((method, method.build(&request.options)?));
        let methods = request.methods.iter().map(build).collect::<Result<Vec<_>>>()?;
        let path = checkpoint::file(&request.checkpoint)?;
        let checkpoint = Checkpoint::on(request.device, &path, request.precision)?;
        let target = target_class(&request.target, &checkpoint)?;
        let open = |path: &PathBuf| -> Result<(Checkpoint, PathBuf)> {
            let path = checkpoint::file(path)?;
            let baseline = Checkpoint::on(request.device, &path, request.precision)?;
            if baseline.meta.classes != checkpoint.meta.classes
                || baseline.meta.preprocessing != checkpoint.meta.preprocessing
            {
                return Err(usage(format!(
                    "--compare {}: its classes or preprocessing are not those of {}",
                    path.display(),
                    request.checkpoint.display()
                )));
            }
            Ok((baseline, path))
        };
        let (baseline, baseline_path) = request.compare.as_ref().map(open).transpose()?.unzip();
        Ok(Self { checkpoint, baseline, target, paths: (path, baseline_path), methods })
    }

    /// What the checkpoints say of themselves.
    pub(super) fn described(&self) -> Result<(Network, Option<Network>)> {
        let network = |checkpoint: &Checkpoint, path: &Path| Network::of(&checkpoint.meta, path);
        let baseline = self.baseline.as_ref().zip(self.paths.1.as_ref());
        let baseline = baseline.map(|(baseline, path)| network(baseline, path)).transpose()?;
        Ok((network(&self.checkpoint, &self.paths.0)?, baseline))
    }

    /// Heatmaps of `images` `[B,3,H,W]`. The baseline is asked about the same class as the network: a
    /// difference of two classes says nothing.
    pub(super) fn explain(&self, images: &Tensor) -> Result<Explained> {
        let images = images.to_device(self.checkpoint.device);
        let options = (Kind::Int64, images.device());
        let given = self.target.map(|class| Tensor::full([images.size()[0]], class, options));
        let ours = self.heatmaps(&self.checkpoint, &images, given.as_ref())?;
        let targets = Some(&ours.scores.targets);
        let theirs =
            self.baseline.as_ref().map(|baseline| self.heatmaps(baseline, &images, targets));
        Ok(Explained { theirs: theirs.transpose()?, ours })
    }

    /// Heatmaps by one network, of the classes `targets` or the predicted ones.
    fn heatmaps(
        &self,
        checkpoint: &Checkpoint,
        images: &Tensor,
        targets: Option<&Tensor>,
    ) -> Result<OfNetwork> {
        let net = checkpoint.backbone.as_ref();
        let scores = target_scores(net, images, targets, CHUNK as i64)?;
        let explain = |(method, explainer): &(Method, Box<dyn Explainer>)| {
            let started = Instant::now();
            let Explanation { heatmaps, completeness_error } = explainer
                .explain_with_error(net, images, &Target::class(&scores.targets))
                .with_context(|| method.to_string())?;
            Ok(Heatmaps {
                maps: heatmaps.to_device(Device::Cpu),
                completeness_error,
                seconds_an_image: started.elapsed().as_secs_f64() / images.size()[0] as f64,
            })
        };
        let heatmaps = self.methods.iter().map(explain).collect::<Result<_>>()?;
        Ok(OfNetwork { scores, heatmaps })
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
