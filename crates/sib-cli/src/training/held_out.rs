//! What is measured after an epoch on images that training does not see.

use std::collections::BTreeMap;
use std::path::Path;

use sib_core::data::Loader;
use sib_core::information::RegionInformation;
use sib_core::objective::{SibConfig, cross_entropy, unit_scale};
use sib_core::train::{Evaluation, Metric, Position};
use sib_core::{Backbone, Error, Mode, Result};
use sib_metrics::accuracy::top_k_hits;
use tch::Kind;

use super::divergence;

/// Regions of image and R, and the measures between them (METHOD: Fig. 1a).
const REGIONS: [&str; 2] = ["fg", "bg"];
const MEASURES: [&str; 3] = ["hsic", "cka", "renyi_bits"];

const TOP1: &str = "top1";
const TOP5: &str = "top5";
const LOSS: &str = "loss";

/// Of how many classes the label must be among the first five for that to say something.
const MORE_THAN: usize = 5;

/// Measures the splits that training does not see, one after the other.
pub(super) struct HeldOut<'r> {
    pub(super) images: &'r [Loader],
    /// With these settings of R and its mask, the information between regions too.
    pub(super) information: Option<SibConfig>,
    /// The run's folder, which an error names.
    pub(super) run: &'r Path,
}

impl Evaluation<anyhow::Error> for HeldOut<'_> {
    fn evaluate(&mut self, net: &dyn Backbone, at: Position) -> anyhow::Result<Vec<Metric>> {
        let measured: Result<Vec<_>> = self.images.iter().map(|it| self.measure(net, it)).collect();
        match measured {
            Ok(metrics) => Ok(metrics.concat()),
            Err(error) if divergence::is_one(&error) => {
                Err(divergence::of_network(error, self.run, at.step))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl HeldOut<'_> {
    fn measure(&self, net: &dyn Backbone, images: &Loader) -> Result<Vec<Metric>> {
        let mut values = accuracy(net, images)?;
        if let Some(sib) = &self.information {
            values.extend(information(net, images, sib)?);
        }
        let split = images.dataset().split;
        Ok(values.into_iter().map(|(name, value)| Metric { split, name, value }).collect())
    }
}

/// Names of all metrics of images of `classes` classes.
pub(crate) fn names(classes: usize, log_information: bool) -> Vec<String> {
    let accuracy =
        [TOP1, TOP5, LOSS].into_iter().filter(|&name| name != TOP5 || classes > MORE_THAN);
    let mut names: Vec<String> = accuracy.map(str::to_owned).collect();
    if log_information {
        for measure in MEASURES {
            for x in REGIONS {
                names.extend(REGIONS.map(|r| information_name(measure, x, r)));
            }
        }
    }
    names
}

fn information_name(measure: &str, x: &str, r: &str) -> String {
    format!("{measure}_x_{x}_r_{r}")
}

/// Top-1 and top-5 in per cent and mean cross-entropy of `net` over `images`; no top-5 where there are
/// no more than five classes, of which every label is one of the first five.
///
/// # Errors
/// When an image cannot be read or a logit is not finite.
fn accuracy(net: &dyn Backbone, images: &Loader) -> Result<Vec<(String, f64)>> {
    let classes = images.dataset().classes.len();
    let (mut top1, mut top5, mut loss, mut n) = (0, 0, 0.0, 0);
    for batch in images.epoch(0, 0) {
        let batch = batch?;
        let logits = tch::no_grad(|| net.forward(&batch.images, Mode::Eval));
        let hits = |k: usize| -> Result<usize> {
            Ok(top_k_hits(&logits, &batch.labels, k)?.into_iter().filter(|&hit| hit).count())
        };
        top1 += hits(1)?;
        if classes > MORE_THAN {
            top5 += hits(5)?;
        }
        let mean = cross_entropy(&logits, &batch.labels, 0.0).double_value(&[]);
        loss += mean * batch.len() as f64;
        n += batch.len();
    }
    let pct = |hits: usize| 100.0 * hits as f64 / n as f64;
    let mut values = vec![(TOP1, pct(top1))];
    if classes > MORE_THAN {
        values.push((TOP5, pct(top5)));
    }
    values.push((LOSS, loss / n as f64));
    Ok(values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Information between the regions of image and R, by all three measures: means over the full
/// batches of the split (all measures depend on the batch size), in f64: R is of the order of 1e-6. A
/// batch with an image whose R is zero is left out, since it compares its images; nothing is returned
/// where every one has such an image.
///
/// # Errors
/// When an image cannot be read or R is not finite.
fn information(net: &dyn Backbone, images: &Loader, sib: &SibConfig) -> Result<Vec<(String, f64)>> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    let mut batches = 0.0;
    let size = images.options().batch_size;
    for batch in images.epoch(0, 0) {
        let batch = batch?;
        if batch.len() < size && batches > 0.0 {
            break;
        }
        let images = batch.images.set_requires_grad(true);
        let logits = net.forward(&images, Mode::Eval);
        let r = sib.vjp.vjp(&images, &logits, false)?;
        let mask = sib.mask.apply(&unit_scale(&r))?.mask;
        let [images, r, mask] = [images.detach(), r, mask].map(|x| x.to_kind(Kind::Double));
        let measured = match RegionInformation::measure(&images, &r, &mask) {
            Err(Error::Vanishing { .. }) => continue,
            other => other?,
        };
        let pairs = [measured.hsic, measured.cka, measured.renyi_bits];
        for (measure, pairs) in MEASURES.into_iter().zip(pairs) {
            for (x, row) in REGIONS.into_iter().zip(pairs) {
                for (r, value) in REGIONS.into_iter().zip(row) {
                    *sums.entry(information_name(measure, x, r)).or_default() += value;
                }
            }
        }
        batches += 1.0;
    }
    Ok(sums.into_iter().map(|(name, sum)| (name, sum / batches)).collect())
}
