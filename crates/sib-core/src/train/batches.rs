//! Where training takes its batches from.

use std::ops::Range;

use rand::seq::SliceRandom;
use tch::Tensor;

use crate::data::{Batch, Loader};
use crate::group::Part;
use crate::random::{Use, stream};
use crate::{Error, Result};

/// A batch as training sees it.
#[derive(Debug)]
pub struct Examples {
    /// Normalised, `[B,3,H,W]`.
    pub images: Tensor,
    /// Classes `[B]`, i64, or their probabilities `[B,K]`.
    pub targets: Tensor,
    /// Where the objects are, `[B,H,W]`, bool; for S-IB with annotated masks.
    pub foreground: Option<Tensor>,
    /// What the images are called where an update of them fails.
    pub ids: Vec<String>,
}

impl Examples {
    /// Without names and without annotation.
    pub fn new(images: Tensor, targets: Tensor) -> Self {
        Self { images, targets, foreground: None, ids: Vec::new() }
    }
}

impl From<Batch> for Examples {
    fn from(batch: Batch) -> Self {
        let Batch { images, labels, ground_truth, ids, .. } = batch;
        Self { images, targets: labels, foreground: ground_truth, ids }
    }
}

/// The batches of every epoch. What a batch holds depends on its epoch and its place alone, so that
/// training can go on in the middle of an epoch.
pub trait Batches {
    /// Number of batches in each epoch.
    fn per_epoch(&self) -> usize;

    /// The batches of `epoch` at these `places`, whose end is the same in every epoch: at most
    /// [`Self::per_epoch`].
    fn epoch(
        &self,
        epoch: u64,
        places: Range<usize>,
    ) -> Box<dyn Iterator<Item = Result<Examples>> + '_>;
}

impl Batches for Loader {
    fn per_epoch(&self) -> usize {
        self.batches_per_epoch()
    }

    fn epoch(
        &self,
        epoch: u64,
        places: Range<usize>,
    ) -> Box<dyn Iterator<Item = Result<Examples>> + '_> {
        let batches = Loader::epoch(self, epoch, places.start).take(places.len());
        Box::new(batches.map(|batch| batch.map(Examples::from)))
    }
}

/// Batches of images in memory, each epoch in another order; those that do not fill a batch are left
/// out.
#[derive(Debug)]
pub struct TensorBatches {
    images: Tensor,
    targets: Tensor,
    batch_size: usize,
    seed: u64,
    part: Part,
}

impl TensorBatches {
    /// Batches of `batch_size` of the `images` `[N,3,H,W]` with their `targets`, classes `[N]` or
    /// probabilities `[N,K]`. The orders follow from `seed`.
    ///
    /// # Errors
    /// Where there are not as many targets as images, or not as many images as a batch has.
    pub fn new(images: Tensor, targets: Tensor, batch_size: usize, seed: u64) -> Result<Self> {
        let &[count, 3, _, _] = &images.size()[..] else {
            return Err(Error::shape("images", &images, "[N,3,H,W]"));
        };
        if targets.size().first() != Some(&count) {
            return Err(Error::shape("targets", &targets, format!("[{count}] or [{count},K]")));
        }
        if !(1..=count as usize).contains(&batch_size) {
            let expected = format!("1 to {count}, the number of images");
            return Err(Error::invalid("batch_size", batch_size, expected));
        }
        Ok(Self { images, targets, batch_size, seed, part: Part::WHOLE })
    }

    /// Of each batch only `part`, for a member of a group.
    ///
    /// # Errors
    /// Where a batch has no equal parts.
    pub fn in_part(self, part: Part) -> Result<Self> {
        part.range("batch_size", self.batch_size)?;
        Ok(Self { part, ..self })
    }
}

impl Batches for TensorBatches {
    fn per_epoch(&self) -> usize {
        self.images.size()[0] as usize / self.batch_size
    }

    fn epoch(
        &self,
        epoch: u64,
        places: Range<usize>,
    ) -> Box<dyn Iterator<Item = Result<Examples>> + '_> {
        let mut order: Vec<i64> = (0..self.images.size()[0]).collect();
        order.shuffle(&mut stream(Use::Order, self.seed, epoch, 0));
        Box::new(places.map(move |place| {
            let own = self.part.range("batch_size", self.batch_size)?;
            let chosen = &order[place * self.batch_size..][own];
            let of = |all: &Tensor| {
                all.f_index_select(0, &Tensor::from_slice(chosen).to_device(all.device()))
            };
            Ok(Examples {
                ids: chosen.iter().map(i64::to_string).collect(),
                ..Examples::new(of(&self.images)?, of(&self.targets)?)
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn every_image_comes_once_an_epoch_in_an_order_of_its_own() {
        let labels = Tensor::arange(6, (Kind::Int64, Device::Cpu));
        let images = labels.to_kind(Kind::Float).reshape([6, 1, 1, 1]).expand([6, 3, 2, 2], false);
        let batches = TensorBatches::new(images, labels, 2, 43).unwrap();
        assert_eq!(batches.per_epoch(), 3);
        let epoch = |epoch, places| -> Vec<i64> {
            let targets = batches.epoch(epoch, places).map(|batch| {
                let Examples { images, targets, ids, .. } = batch.unwrap();
                let targets: Vec<i64> = targets.try_into().unwrap();
                let first: Vec<f32> =
                    images.select(1, 0).select(1, 0).select(1, 0).try_into().unwrap();
                assert_eq!(first.iter().map(|&x| x as i64).collect::<Vec<_>>(), targets);
                assert_eq!(ids, targets.iter().map(i64::to_string).collect::<Vec<_>>());
                targets
            });
            targets.flatten().collect()
        };
        let mut first = epoch(0, 0..3);
        assert_eq!(epoch(0, 1..3), first[2..]);
        assert_ne!(epoch(1, 0..3), first);
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn parts_of_a_batch_make_the_batch() {
        let labels = Tensor::arange(8, (Kind::Int64, Device::Cpu));
        let images = Tensor::zeros([8, 3, 2, 2], (Kind::Float, Device::Cpu));
        let all =
            || TensorBatches::new(images.shallow_clone(), labels.shallow_clone(), 4, 43).unwrap();
        let ids = |batches: &TensorBatches| -> Vec<String> {
            batches.epoch(0, 1..2).next().unwrap().unwrap().ids
        };
        let [first, second] =
            [0, 1].map(|index| ids(&all().in_part(Part::new(index, 2).unwrap()).unwrap()));
        assert_eq!(ids(&all()), [first, second].concat());
        assert!(all().in_part(Part::new(0, 3).unwrap()).is_err());
    }

    #[test]
    fn what_makes_no_batch_is_refused() {
        let images = |count| Tensor::zeros([count, 3, 2, 2], (Kind::Float, Device::Cpu));
        let labels = |count| Tensor::zeros([count], (Kind::Int64, Device::Cpu));
        assert!(TensorBatches::new(images(4), labels(3), 2, 0).is_err());
        assert!(TensorBatches::new(images(4).squeeze_dim(1).get(0), labels(3), 2, 0).is_err());
        for size in [0, 5] {
            let message =
                TensorBatches::new(images(4), labels(4), size, 0).unwrap_err().to_string();
            assert_eq!(
                message,
                format!("batch_size: got {size}, expected 1 to 4, the number of images")
            );
        }
    }
}
