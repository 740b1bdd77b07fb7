//! How far what a step is made of lies from f32 in another precision.

use std::path::Path;

use anyhow::{Context, Result};
use sib_core::data::{Batch, Dataset, Loader, LoaderOptions};
use sib_core::objective::{MaskConfig, SibConfig, cross_entropy};
use sib_core::train::Precision;
use tch::{Kind, Tensor};

use crate::checkpoint::Checkpoint;

/// A step's parts, by name, each as one vector.
type Parts = Vec<(&'static str, Tensor)>;

/// R and the gradients of L_ce, L_fg, L_bg and their sum with respect to all weights, in `precision` beside f32,
/// for a batch of `dataset`: as CSV on standard output, cosine and ratio of lengths. Once with the derivatives
/// through the mask, once with a mask that is a constant to them.
///
/// # Errors
/// When the checkpoint or an image cannot be read, or the device lacks the precision.
pub fn compare(
    path: &Path,
    device: &str,
    dataset: Dataset,
    batch_size: usize,
    precision: Precision,
) -> Result<()> {
    let checkpoint = Checkpoint::open(path, device, sib_models::Precision::F32)?;
    precision.validate(checkpoint.device)?;
    let options = LoaderOptions {
        batch_size,
        shuffle: true,
        device: checkpoint.device,
        ..LoaderOptions::default()
    };
    let loader = Loader::new(dataset, checkpoint.transform.clone(), options)?;
    let batch = loader.epoch(0, 0).next().context("no batch")??;
    println!("part,mask,cosine,length_ratio");
    for detach in [false, true] {
        let mask = MaskConfig { detach, ..MaskConfig::default() };
        let sib = SibConfig { mask, ..SibConfig::default() };
        let exact = parts(&checkpoint, &sib, &batch, Precision::F32)?;
        let rounded = parts(&checkpoint, &sib, &batch, precision)?;
        for ((name, exact), (_, rounded)) in exact.iter().zip(&rounded) {
            let number = |x: Tensor| x.double_value(&[]);
            let lengths = [exact, rounded].map(|x| number(x.norm()));
            let cosine = number(exact.dot(rounded)) / (lengths[0] * lengths[1]);
            let mask = if detach { "constant" } else { "differentiated" };
            println!("{name},{mask},{cosine:.5},{:.4}", lengths[1] / lengths[0]);
        }
    }
    Ok(())
}

/// The parts in this precision, f64. Statistics of normalisations move with each call, and have no part in train
/// mode.
fn parts(
    checkpoint: &Checkpoint,
    sib: &SibConfig,
    batch: &Batch,
    precision: Precision,
) -> Result<Parts> {
    let _in_force = precision.in_force();
    // The same dropout in both.
    tch::manual_seed(0);
    let net = checkpoint.model.backbone();
    let forward = |images: &Tensor| precision.forward(net, images);
    let terms = sib.terms(&batch.images, forward, |z| cross_entropy(z, &batch.labels, 0.0))?;
    let flat = |x: &Tensor| x.to_kind(Kind::Double).flatten(0, -1);
    let mut parts = vec![("R", flat(&terms.vjp.detach()))];
    let total = sib.total(&terms);
    let parameters = checkpoint.model.parameters();
    let wanted: Vec<_> = parameters.values().collect();
    for (name, term) in [
        ("L_ce", &terms.cross_entropy),
        ("L_fg", &terms.foreground),
        ("L_bg", &terms.background),
        ("L", &total),
    ] {
        let gradients = Tensor::f_run_backward(&[term], &wanted, true, false)?;
        let defined = gradients.iter().filter(|gradient| gradient.defined()).map(flat);
        parts.push((name, Tensor::cat(&defined.collect::<Vec<_>>(), 0)));
    }
    Ok(parts)
}
