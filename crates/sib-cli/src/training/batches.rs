//! The training split as training sees it.

use std::ops::Range;

use sib_core::Result;
use sib_core::data::{Batch, Loader, Mix, soft_targets};
use sib_core::group::Group;
use sib_core::train::{Batches, Examples};
use tch::Tensor;

/// Batches, mixed as `data.mix` says.
#[derive(Debug)]
pub(super) struct TrainingBatches {
    pub(super) images: Loader,
    pub(super) mix: Option<Mix>,
    pub(super) group: Group,
}

impl TrainingBatches {
    /// Number of classes.
    pub(super) fn classes(&self) -> usize {
        self.images.dataset().classes.len()
    }

    /// `batch`, number `number` of the run.
    fn examples(&self, batch: Batch, epoch: u64, number: u64) -> Result<Examples> {
        let Some(mix) = self.mix else { return Ok(batch.into()) };
        // Label smoothing is part of the loss.
        let targets = soft_targets(&batch.labels, self.classes() as i64, 0.0)?;
        let seed = self.images.options().seed;
        // Images of all processes are mixed with each other.
        let [images, targets] = [batch.images, targets].map(|own| self.group.gathered(&own));
        let (images, targets) = mix.apply(&images?, &targets?, seed, epoch, number)?;
        let part = self.group.part().range("batch_size", images.size()[0] as usize)?;
        let own = |all: Tensor| all.narrow(0, part.start as i64, part.len() as i64);
        let (images, targets) = (own(images), own(targets));
        Ok(Examples { ids: batch.ids, ..Examples::new(images, targets) })
    }
}

impl Batches for TrainingBatches {
    fn per_epoch(&self) -> usize {
        self.images.batches_per_epoch()
    }

    fn epoch(
        &self,
        epoch: u64,
        places: Range<usize>,
    ) -> Box<dyn Iterator<Item = Result<Examples>> + '_> {
        let before = epoch * places.end as u64;
        let batches = self.images.epoch(epoch, places.start);
        let numbered = places.map(move |place| before + place as u64).zip(batches);
        Box::new(numbered.map(move |(number, batch)| self.examples(batch?, epoch, number)))
    }
}
