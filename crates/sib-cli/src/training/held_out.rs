//! What is measured after an epoch on images that training does not see.

use std::path::Path;

use sib_core::data::{Batch, Loader};
use sib_core::group::Group;
use sib_core::information::{RegionInformation, Regions};
use sib_core::objective::{SibConfig, cross_entropy, unit_scale};
use sib_core::train::{Evaluation, Metric, Position};
use sib_core::{Backbone, Error, Mode, Result};
use sib_metrics::accuracy::top_k_hits;
use tch::{Kind, Tensor};

use super::divergence;
use crate::evaluation::suites::information::NULL;

/// Regions of image and R, and the measures between them (METHOD: Fig. 1a).
const REGIONS: [&str; 2] = ["fg", "bg"];
const MEASURES: [&str; 3] = ["hsic", "cka", "renyi_bits"];

/// How many random pairings of image and R a batch's measures are averaged over beside its own (decision I3).
const PAIRINGS: usize = 20;

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
    /// The processes that share the batches.
    pub(super) group: &'r Group,
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
        let mut values = accuracy(net, images, self.group)?;
        if let Some(sib) = &self.information {
            values.extend(information(net, images, sib, self.group)?);
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

/// A row of numbers of each batch, in the order of the batches: with every process that of all, which `measure` has
/// made of its own by their numbers. Added up in their order, they come to the same bits whoever made them.
fn of_all_batches<const N: usize>(
    images: &Loader,
    group: &Group,
    mut measure: impl FnMut(usize, Batch) -> Result<[f64; N]>,
) -> Result<Vec<[f64; N]>> {
    let mut rows = vec![[0.0; N]; images.batches_per_epoch()];
    let part = images.options().part_of_batches;
    let own = rows.iter_mut().enumerate().filter(|(number, _)| part.has(*number));
    for ((number, row), batch) in own.zip(images.epoch(0, 0)) {
        *row = measure(number, batch?)?;
    }
    let all = Tensor::from_slice(rows.as_flattened()).to_device(images.options().device);
    group.sum(&[&all])?;
    let all = Vec::<f64>::try_from(all)?;
    Ok(all.chunks_exact(N).map(|row| row.try_into().expect("N numbers")).collect())
}

/// Top-1 and top-5 in per cent and mean cross-entropy of `net` over `images`; no top-5 where there are
/// no more than five classes, of which every label is one of the first five.
///
/// # Errors
/// When an image cannot be read or a logit is not finite.
fn accuracy(net: &dyn Backbone, images: &Loader, group: &Group) -> Result<Vec<(String, f64)>> {
    let has_top5 = images.dataset().classes.len() > MORE_THAN;
    let rows = of_all_batches(images, group, |_, batch| {
        let logits = tch::no_grad(|| net.forward(&batch.images, Mode::Eval));
        let hits = |k: usize| -> Result<f64> {
            let hits = top_k_hits(&logits, &batch.labels, k)?;
            Ok(hits.into_iter().filter(|&hit| hit).count() as f64)
        };
        let mean = cross_entropy(&logits, &batch.labels, 0.0).double_value(&[]);
        let n = batch.len() as f64;
        Ok([hits(1)?, if has_top5 { hits(5)? } else { 0.0 }, mean * n, n])
    })?;
    let sum = |column: usize| rows.iter().map(|row| row[column]).sum::<f64>();
    let (n, pct) = (sum(3), |hits: f64| 100.0 * hits / sum(3));
    let mut values = vec![(TOP1, pct(sum(0)))];
    if has_top5 {
        values.push((TOP5, pct(sum(1))));
    }
    values.push((LOSS, sum(2) / n));
    Ok(values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Information between the regions of image and R, by all three measures: means over the full
/// batches of the split (all measures depend on the batch size), in f64: R is of the order of 1e-6. A
/// batch with an image whose R is zero is left out, since it compares its images; nothing is returned
/// where every one has such an image. Behind them stand the means for random pairs of image and R.
///
/// # Errors
/// When an image cannot be read or R is not finite.
fn information(
    net: &dyn Backbone,
    images: &Loader,
    sib: &SibConfig,
    group: &Group,
) -> Result<Vec<(String, f64)>> {
    const OWN: usize = MEASURES.len() * REGIONS.len() * REGIONS.len();
    const VALUES: usize = 2 * OWN;
    let own_names = MEASURES.into_iter().flat_map(|measure| {
        REGIONS.into_iter().flat_map(move |x| REGIONS.map(|r| information_name(measure, x, r)))
    });
    let own_names: Vec<String> = own_names.collect();
    let null_names = own_names.iter().map(|name| format!("{name}{NULL}"));
    let names = own_names.iter().cloned().chain(null_names);
    let (size, seed) = (images.options().batch_size, images.options().seed);
    // Whether it counts, and the values.
    let rows = of_all_batches::<{ VALUES + 1 }>(images, group, |number, batch| {
        if batch.len() < size && images.batches_per_epoch() > 1 {
            return Ok([0.0; VALUES + 1]);
        }
        let images = batch.images.set_requires_grad(true);
        let logits = net.forward(&images, Mode::Eval);
        let r = sib.vjp.vjp(&images, &logits, false)?;
        let mask = sib.mask.apply(&unit_scale(&r))?.mask;
        let [images, r, mask] = [images.detach(), r, mask].map(|x| x.to_kind(Kind::Double));
        let regions = match Regions::new(&images, &r, &mask) {
            Err(Error::Vanishing { .. }) => return Ok([0.0; VALUES + 1]),
            other => other?,
        };
        let mut row = [0.0; VALUES + 1];
        row[0] = 1.0;
        let mut add = |to: usize, measured: &RegionInformation, share: f64| {
            let measures = [measured.hsic, measured.cka, measured.renyi_bits];
            let values = measures.as_flattened().as_flattened();
            row[to..].iter_mut().zip(values).for_each(|(sum, value)| *sum += value * share);
        };
        add(1, &regions.information()?, 1.0);
        for shuffled in regions.shuffled(PAIRINGS, seed, number as u64)? {
            add(1 + OWN, &shuffled, 1.0 / PAIRINGS as f64);
        }
        Ok(row)
    })?;
    let counted: Vec<_> = rows.iter().filter(|row| row[0] > 0.0).collect();
    let mean =
        |place: usize| counted.iter().map(|row| row[place]).sum::<f64>() / counted.len() as f64;
    let none = counted.is_empty();
    let mut values: Vec<_> =
        names.enumerate().filter(|_| !none).map(|(i, name)| (name, mean(i + 1))).collect();
    values.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(values)
}
