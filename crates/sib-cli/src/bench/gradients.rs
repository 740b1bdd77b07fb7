//! How well a cheaper way to compute S-IB keeps the gradients of its terms.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::{Result, bail};
use sib_core::data::{Batch, Loader};
use sib_core::objective::{SibConfig, cross_entropy};
use sib_core::train::Precision;
use sib_core::{Backbone, Probe};
use sib_metrics::Summary;
use tch::{Kind, Tensor};

use super::quantile;
use crate::note;

/// One way to compute the terms.
#[derive(Debug)]
pub struct Way {
    /// What the rows call it.
    pub name: String,
    /// Its objective.
    pub sib: SibConfig,
    /// Its numbers.
    pub precision: Precision,
}

/// The gradients of a batch by term and part of the network, and R, each as one vector of f64.
type Parts = BTreeMap<(&'static str, String), Tensor>;

/// The whole of a network.
const ALL: &str = "all";
/// The way that compares the exact gradients of one batch with those of the one before.
const OTHER_IMAGES: &str = "other images";

/// Compares the gradients of L_ce, L_fg and L_bg by each of `ways` with those of `exact`, for so many batches of
/// `images`: as CSV on standard output, by the part of the network that they are of, mean and standard deviation of the
/// cosine and the median of the ratio of lengths. R stands beside them where it has the same shape, and the exact
/// gradients of one batch and the one before, for scale.
///
/// # Errors
/// When an image cannot be read, there are fewer batches, or a setting does not fit the network.
pub fn compare(
    net: &dyn Backbone,
    parameters: &BTreeMap<String, Tensor>,
    images: &Loader,
    batches: usize,
    exact: &Way,
    ways: &[Way],
) -> Result<()> {
    let mut compared: BTreeMap<(usize, &'static str, String), Comparison> = BTreeMap::new();
    let names: Vec<&str> = ways.iter().map(|way| &*way.name).chain([OTHER_IMAGES]).collect();
    let mut compare = |way: usize, exact: &Parts, other: &Parts| {
        for (key, exact) in exact {
            if let Some(other) = other.get(key).filter(|other| other.size() == exact.size()) {
                let (part, stage) = key.clone();
                compared.entry((way, part, stage)).or_default().add(exact, other);
            }
        }
    };
    let mut before: Option<Parts> = None;
    let mut done = 0;
    for batch in (0..).flat_map(|epoch| images.epoch(epoch, 0)).take(batches) {
        let batch = batch?;
        let reference = exact.parts(net, parameters, &batch)?;
        for (number, way) in ways.iter().enumerate() {
            compare(number, &reference, &way.parts(net, parameters, &batch)?);
        }
        if let Some(before) = &before {
            compare(ways.len(), &reference, before);
        }
        before = Some(reference);
        done += 1;
        note!("{done} of {batches} batches");
    }
    let mut out = io::stdout().lock();
    writeln!(out, "way,of,part,batches,cosine,cosine_sd,length_ratio")?;
    for ((way, part, stage), comparison) in &compared {
        writeln!(out, "{},{part},{stage},{comparison}", names[*way])?;
    }
    Ok(())
}

/// Of two gradients, batch by batch.
#[derive(Debug, Default)]
struct Comparison {
    cosines: Summary,
    ratios: Vec<f64>,
}

impl Comparison {
    fn add(&mut self, exact: &Tensor, other: &Tensor) {
        let number = |x: Tensor| x.double_value(&[]);
        let [exact_length, length] = [exact, other].map(|x| number(x.norm()));
        let cosine = number(exact.dot(other)) / (exact_length * length);
        // A part that a term does not depend on, such as a head's bias, has none.
        if cosine.is_finite() {
            self.cosines.push(cosine);
            self.ratios.push(length / exact_length);
        }
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let n = self.cosines.n();
        write!(f, "{n},")?;
        match self.cosines.mean() {
            Some(mean) => {
                let spread = self.cosines.variance().map(f64::sqrt);
                let spread = spread.map_or_else(String::new, |spread| format!("{spread:.4}"));
                write!(f, "{mean:.5},{spread},{:.4}", quantile(&self.ratios, 0.5))
            }
            None => f.write_str(",,"),
        }
    }
}

impl Way {
    /// The gradients for one batch. Statistics of normalisations move with each call, and have no part in train mode.
    fn parts(
        &self,
        net: &dyn Backbone,
        parameters: &BTreeMap<String, Tensor>,
        batch: &Batch,
    ) -> Result<Parts> {
        let _in_force = self.precision.in_force();
        // The same dropout in all.
        tch::manual_seed(0);
        let forward =
            |images: &Tensor, probe: &mut dyn Probe| self.precision.forward(net, images, probe);
        let loss = |logits: &Tensor| cross_entropy(logits, &batch.labels, 0.0);
        let terms = self.sib.terms(&batch.images, forward, loss)?;
        let flat = |x: &Tensor| x.to_kind(Kind::Double).flatten(0, -1);
        let mut parts = Parts::from([(("R", ALL.to_owned()), flat(&terms.vjp.detach()))]);
        let wanted: Vec<_> = parameters.values().collect();
        for (name, term) in [
            ("L_ce", &terms.cross_entropy),
            ("L_fg", &terms.foreground),
            ("L_bg", &terms.background),
        ] {
            let gradients = Tensor::f_run_backward(&[term], &wanted, true, false)?;
            let mut by_stage = BTreeMap::<String, Vec<Tensor>>::new();
            for ((key, variable), gradient) in parameters.iter().zip(&gradients) {
                let gradient =
                    if gradient.defined() { flat(gradient) } else { flat(&variable.zeros_like()) };
                for stage in [ALL.to_owned(), stage(key)] {
                    by_stage.entry(stage).or_default().push(gradient.shallow_clone());
                }
            }
            parts.extend(
                by_stage.into_iter().map(|(stage, all)| ((name, stage), Tensor::cat(&all, 0))),
            );
        }
        Ok(parts)
    }
}

/// The part of a network that a variable belongs to: its key up to the first name with a number, or without its last
/// name, as `layer3`, `features.denseblock2`, `encoder.layers.encoder_layer_7`, `fc`.
fn stage(key: &str) -> String {
    let names: Vec<&str> = key.split('.').collect();
    let numbered = names.iter().position(|name| name.ends_with(|last: char| last.is_ascii_digit()));
    let length = numbered.map_or_else(|| names.len().saturating_sub(1).max(1), |place| place + 1);
    names[..length].join(".")
}

/// Checks that there is something to compare.
///
/// # Errors
/// When all ways are the exact one.
pub fn expect_ways(exact: &Way, ways: &[Way]) -> Result<()> {
    if ways.iter().all(|way| way.sib == exact.sib && way.precision == exact.precision) {
        bail!("nothing to compare: expected --candidate KEY=VALUE or another --precision");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_belong_to_stages() {
        for (key, expected) in [
            ("layer3.0.conv1.weight", "layer3"),
            ("conv1.weight", "conv1"),
            ("fc.bias", "fc"),
            ("features.denseblock2.denselayer3.norm1.weight", "features.denseblock2"),
            ("features.10.weight", "features.10"),
            ("encoder.layers.encoder_layer_7.mlp.0.weight", "encoder.layers.encoder_layer_7"),
            ("class_token", "class_token"),
            ("heads.head.weight", "heads.head"),
        ] {
            assert_eq!(stage(key), expected);
        }
    }
}
