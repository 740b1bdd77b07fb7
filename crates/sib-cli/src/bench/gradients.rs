//! How well a cheaper way to compute S-IB keeps the gradients of its terms.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::{Result, bail};
use sib_core::data::{Batch, GroundTruth, Loader};
use sib_core::objective::{Input, SibConfig, cross_entropy};
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

/// The gradients of a batch by term and part of the network, and R, each as one vector.
type Parts = BTreeMap<(&'static str, String), Tensor>;

/// The whole of a network.
const ALL: &str = "all";
/// The way that compares the exact gradients of two batches.
const OTHER_IMAGES: &str = "other images";

/// Compares the gradients of L_ce, L_fg and L_bg by each of `ways` with those of `exact`, for so many batches of
/// `images`: as CSV on standard output, by the part of the network that they are of.
///
/// For each batch there is a cosine, of which mean and standard deviation are given, and a ratio of lengths, of which
/// the median is; `mean_cosine` is that of the gradients' means over all batches, in which what differs from batch to
/// batch has averaged out. R stands beside them where it has the same shape, and, for scale, the exact gradients of
/// every second batch as a way to compute those of the batch before. All sums stay in memory: two of the
/// network's size for each way and term.
///
/// # Errors
/// When an image cannot be read, or a setting does not fit the network.
pub fn compare(
    net: &dyn Backbone,
    parameters: &BTreeMap<String, Tensor>,
    images: &Loader,
    batches: usize,
    exact: &Way,
    ways: &[Way],
) -> Result<()> {
    let mut compared: BTreeMap<(usize, &'static str), Comparison> = BTreeMap::new();
    let mut compare = |way: usize, exact: &Parts, other: &Parts| {
        for of in OF {
            compared.entry((way, of)).or_default().add(of, exact, other);
        }
    };
    let mut before: Option<Parts> = None;
    for (number, batch) in (0..).flat_map(|epoch| images.epoch(epoch, 0)).take(batches).enumerate()
    {
        let batch = batch?;
        let reference = exact.parts(net, parameters, &batch)?;
        for (number, way) in ways.iter().enumerate() {
            compare(number, &reference, &way.parts(net, parameters, &batch)?);
        }
        before = match before {
            Some(before) => {
                compare(ways.len(), &before, &reference);
                None
            }
            None => Some(reference),
        };
        note!("{} of {batches} batches", number + 1);
    }
    let names: Vec<&str> = ways.iter().map(|way| &*way.name).chain([OTHER_IMAGES]).collect();
    let mut out = io::stdout().lock();
    writeln!(out, "way,of,part,batches,cosine,cosine_sd,length_ratio,mean_cosine")?;
    for ((way, of), comparison) in &compared {
        comparison.write(&mut out, names[*way], of)?;
    }
    Ok(())
}

/// What is compared.
const OF: [&str; 4] = ["R", "L_ce", "L_fg", "L_bg"];

/// Of one term by one way, batch by batch.
#[derive(Debug, Default)]
struct Comparison {
    /// By part of the network.
    batches: BTreeMap<String, (Summary, Vec<f64>)>,
    /// Sums over the batches, exact and other, by part of the network.
    sums: BTreeMap<String, [Tensor; 2]>,
}

impl Comparison {
    fn add(&mut self, of: &'static str, exact: &Parts, other: &Parts) {
        let mut all = Products::default();
        for ((_, stage), exact) in exact.iter().filter(|((name, _), _)| *name == of) {
            let other = other.get(&(of, stage.clone()));
            let Some(other) = other.filter(|other| other.size() == exact.size()) else { continue };
            let products = Products::of(exact, other);
            all.add(&products);
            if of == "R" {
                // Of no part of the network, and of these images alone.
                continue;
            }
            self.push(stage, &products);
            let zeros = || [exact, other].map(Tensor::zeros_like);
            let sums = self.sums.entry(stage.clone()).or_insert_with(zeros);
            for (sum, x) in sums.iter_mut().zip([exact, other]) {
                let _ = sum.g_add_(x);
            }
        }
        self.push(ALL, &all);
    }

    fn push(&mut self, stage: &str, products: &Products) {
        let (cosines, ratios) = self.batches.entry(stage.to_owned()).or_default();
        // A part that a term does not depend on has no direction.
        if products.cosine().is_finite() {
            cosines.push(products.cosine());
            ratios.push(products.ratio());
        }
    }

    fn write(&self, out: &mut impl Write, way: &str, of: &str) -> io::Result<()> {
        let mut means: BTreeMap<&str, Products> = BTreeMap::new();
        for (stage, [exact, other]) in &self.sums {
            let products = Products::of(exact, other);
            means.entry(ALL).or_default().add(&products);
            means.insert(stage, products);
        }
        for (stage, (cosines, ratios)) in &self.batches {
            let Some(mean) = cosines.mean() else { continue };
            let deviation =
                cosines.variance().map_or(String::new(), |it| format!("{:.4}", it.sqrt()));
            let of_means =
                means.get(&**stage).map_or(String::new(), |it| format!("{:.5}", it.cosine()));
            let (n, ratio) = (cosines.n(), quantile(ratios, 0.5));
            writeln!(out, "{way},{of},{stage},{n},{mean:.5},{deviation},{ratio:.4},{of_means}")?;
        }
        Ok(())
    }
}

/// Inner products of two gradients, which add up over the parts of a network.
#[derive(Debug, Default)]
struct Products {
    exact: f64,
    other: f64,
    both: f64,
}

impl Products {
    fn of(exact: &Tensor, other: &Tensor) -> Self {
        let product = |a: &Tensor, b: &Tensor| {
            a.to_kind(Kind::Double).dot(&b.to_kind(Kind::Double)).double_value(&[])
        };
        Self {
            exact: product(exact, exact),
            other: product(other, other),
            both: product(exact, other),
        }
    }

    fn add(&mut self, other: &Self) {
        self.exact += other.exact;
        self.other += other.other;
        self.both += other.both;
    }

    fn cosine(&self) -> f64 {
        self.both / (self.exact * self.other).sqrt()
    }

    fn ratio(&self) -> f64 {
        (self.other / self.exact).sqrt()
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
        let input = Input { images: &batch.images, foreground: batch.ground_truth.as_ref() };
        let terms = self.sib.terms(input, forward, loss)?;
        let flat = |x: &Tensor| x.detach().flatten(0, -1);
        let mut parts = Parts::from([(("R", "R".to_owned()), flat(&terms.vjp))]);
        let wanted: Vec<_> = parameters.values().collect();
        for (name, term) in [
            ("L_ce", &terms.cross_entropy),
            ("L_fg", &terms.foreground),
            ("L_bg", &terms.background),
        ] {
            let gradients = Tensor::f_run_backward(&[term], &wanted, true, false)?;
            let mut by_stage = BTreeMap::<String, Vec<Tensor>>::new();
            for ((key, variable), gradient) in parameters.iter().zip(gradients) {
                let gradient = if gradient.defined() { gradient } else { variable.zeros_like() };
                by_stage.entry(stage(key)).or_default().push(flat(&gradient));
            }
            let whole = |(stage, all): (String, Vec<Tensor>)| ((name, stage), Tensor::cat(&all, 0));
            parts.extend(by_stage.into_iter().map(whole));
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

/// The annotation that images have to come with.
///
/// # Errors
/// When ways want different ones.
pub fn annotation(exact: &Way, ways: &[Way]) -> Result<Option<GroundTruth>> {
    let mut wanted = [exact].into_iter().chain(ways).filter_map(|way| way.sib.mask.annotation());
    let first = wanted.next();
    match (first, wanted.find(|other| Some(*other) != first)) {
        (Some(one), Some(other)) => bail!(
            "mask.annotation: got {} and {}, expected one for all that is compared",
            one.as_str(),
            other.as_str()
        ),
        _ => Ok(first),
    }
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
