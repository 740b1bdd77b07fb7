//! Batches, decoded in parallel ahead of the consumer.
//!
//! What a batch holds depends on (seed, epoch, position) alone: order and random choices are keyed
//! by them, never by which thread came first.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rand::Rng;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tch::{Device, Tensor};

use super::bbox::BBox;
use super::cache::{Cache, Fixed};
use super::dataset::Dataset;
use super::ground_truth::GroundTruth;
use super::stack::{Place, Sample, stack};
use super::transform::Transform;
use crate::device::Queue;
use crate::group::Part;
use crate::random::{Use, stream};
use crate::{Error, Result};

/// Threads that decode.
const MOST_WORKERS: usize = 1024;

/// What to do about an image that cannot be decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUnreadable {
    /// The epoch ends with its error.
    #[default]
    Fail,
    /// It is left out and listed in [`Epoch::unreadable`].
    Skip,
}

/// How a [`Loader`] makes batches.
#[derive(Debug, Clone)]
pub struct LoaderOptions {
    /// Images a batch.
    pub batch_size: usize,
    /// A new order each epoch; otherwise that of the records.
    pub shuffle: bool,
    /// Leaves out a last batch that is not full.
    pub drop_last: bool,
    /// Of the order and of the transforms.
    pub seed: u64,
    /// Decoding threads; `None` for one a core.
    pub workers: Option<NonZeroUsize>,
    /// Batches that are ready ahead of the consumer.
    pub prefetch_batches: usize,
    /// The ground truth to carry along; `None` for none.
    pub ground_truth: Option<GroundTruth>,
    /// What to do about an image that cannot be decoded.
    pub on_unreadable: OnUnreadable,
    /// Draws as many records an epoch, with replacement, each class as often as any other.
    pub class_balanced: bool,
    /// Memory for decoded images, as they are before the first random operation: later epochs take
    /// them from there. 0 for none.
    pub cache_mib: usize,
    /// Which part of each batch to make, in processes that share them; the batches have to be full then
    /// ([`Self::drop_last`]).
    pub part_of_batch: Part,
    /// Which batches to make, in processes that share them: every k-th of k processes.
    pub part_of_batches: Part,
    /// Where batches come to be. Copies to a GPU and what is computed of them there run beside its other work.
    pub device: Device,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            batch_size: 64,
            shuffle: false,
            drop_last: false,
            seed: 0,
            workers: None,
            prefetch_batches: 2,
            ground_truth: None,
            on_unreadable: OnUnreadable::Fail,
            class_balanced: false,
            cache_mib: 0,
            part_of_batch: Part::WHOLE,
            part_of_batches: Part::WHOLE,
            device: Device::Cpu,
        }
    }
}

/// Images with what is known of them; tensors are on the loader's device.
#[derive(Debug)]
pub struct Batch {
    /// Normalised, `[B,3,H,W]`, f32.
    pub images: Tensor,
    /// Class indices `[B]`, i64.
    pub labels: Tensor,
    /// Positions in [`Dataset::records`].
    pub indices: Vec<usize>,
    /// Ids of the records.
    pub ids: Vec<String>,
    /// Foreground `[B,H,W]`, bool, where [`LoaderOptions::ground_truth`] asks for it. Rows of
    /// records without such an annotation are all false; see [`Batch::annotated`].
    pub ground_truth: Option<Tensor>,
    /// Whether the record has the ground truth asked for.
    pub annotated: Vec<bool>,
    /// Boxes in pixels of the model's input, clipped; those outside it are gone.
    pub boxes: Vec<Vec<BBox>>,
}

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether it holds no image; a loader makes no such batch.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}

/// An image that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Id of the record.
    pub id: String,
    /// Why, naming the file.
    pub error: String,
}

/// Makes the batches of a dataset's epochs.
#[derive(Debug, Clone)]
pub struct Loader {
    shared: Arc<Shared>,
}

/// What the epochs' threads need.
#[derive(Debug)]
struct Shared {
    dataset: Dataset,
    transform: Transform,
    options: LoaderOptions,
    pool: ThreadPool,
    cache: Cache,
    /// Of a GPU.
    queue: Option<Queue>,
}

impl Loader {
    /// A loader over all records of `dataset`.
    ///
    /// # Errors
    /// Where the batch size is zero, no batch would come of it, threads cannot be started, or the device cannot
    /// be used.
    pub fn new(dataset: Dataset, transform: Transform, options: LoaderOptions) -> Result<Self> {
        if options.batch_size == 0 {
            return Err(Error::invalid("batch_size", 0, "at least 1"));
        }
        if options.drop_last && dataset.records.len() < options.batch_size {
            return Err(Error::invalid(
                "batch_size",
                options.batch_size,
                format!("at most the {} images of the split", dataset.records.len()),
            ));
        }
        options.part_of_batch.range("batch_size", options.batch_size)?;
        if options.part_of_batch != Part::WHOLE && !options.drop_last {
            return Err(Error::invalid("drop_last", false, "true where batches are made in parts"));
        }
        if let Some(workers) = options.workers.filter(|workers| workers.get() > MOST_WORKERS) {
            return Err(Error::invalid("workers", workers, format!("at most {MOST_WORKERS}")));
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(options.workers.map_or(0, NonZeroUsize::get))
            .thread_name(|i| format!("decode-{i}"))
            .build()
            .map_err(|error| Error::invalid("workers", error, "threads that can be started"))?;
        let cache = Cache::new(dataset.records.len(), options.cache_mib);
        let queue = Queue::of(options.device)?;
        Ok(Self { shared: Arc::new(Shared { dataset, transform, options, pool, cache, queue }) })
    }

    /// The dataset it reads.
    pub fn dataset(&self) -> &Dataset {
        &self.shared.dataset
    }

    /// How it makes batches.
    pub fn options(&self) -> &LoaderOptions {
        &self.shared.options
    }

    /// Batches of a whole epoch.
    pub fn batches_per_epoch(&self) -> usize {
        let LoaderOptions { batch_size, drop_last, .. } = self.shared.options;
        let len = self.shared.dataset.records.len();
        if drop_last { len / batch_size } else { len.div_ceil(batch_size) }
    }

    /// The batches of `epoch` from position `first_batch` on, the same as when all are taken; those that are this
    /// process's ([`LoaderOptions::part_of_batches`]).
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Epoch {
        let shared = Arc::clone(&self.shared);
        let of_batches = shared.options.part_of_batches;
        let batches = self.batches_per_epoch();
        let unreadable = Arc::new(Mutex::new(Vec::new()));
        let (sender, receiver) = sync_channel(shared.options.prefetch_batches);
        let worker = std::thread::spawn({
            let unreadable = Arc::clone(&unreadable);
            move || {
                let order = shared.order(epoch);
                let size = shared.options.batch_size;
                let chunks = order.chunks(size).enumerate().take(batches).skip(first_batch);
                let chunks =
                    chunks.filter(|(number, _)| shared.options.part_of_batches.has(*number));
                let entered = shared.queue.as_ref().map_or(Ok(()), Queue::enter);
                if let Err(error) = entered {
                    let _ = sender.send(Err(error));
                    return;
                }
                for (number, indices) in chunks {
                    let own = shared.own_part(indices.len());
                    let first = number * size + own.start;
                    let batch = shared.batch(epoch, first, &indices[own], &unreadable);
                    let failed = batch.is_err();
                    // Sending fails where the consumer has gone: nobody waits for more.
                    if batch.transpose().is_some_and(|batch| sender.send(batch).is_err()) || failed
                    {
                        return;
                    }
                }
            }
        });
        Epoch {
            receiver: Some(receiver),
            worker: Some(worker),
            remaining: (first_batch..batches).filter(|&it| of_batches.has(it)).count(),
            unreadable,
        }
    }
}

/// The batches of an epoch, in order. Dropping it stops the decoding.
#[derive(Debug)]
pub struct Epoch {
    receiver: Option<Receiver<Result<Batch>>>,
    worker: Option<JoinHandle<()>>,
    remaining: usize,
    unreadable: Arc<Mutex<Vec<Unreadable>>>,
}

impl Epoch {
    /// The images left out so far ([`OnUnreadable::Skip`]).
    pub fn unreadable(&self) -> Vec<Unreadable> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the queue and waits for the thread.
    fn finish(&mut self) -> std::thread::Result<()> {
        self.receiver = None;
        self.worker.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.receiver.as_ref()?.recv().ok();
        match &batch {
            Some(Ok(_)) => self.remaining = self.remaining.saturating_sub(1),
            Some(Err(_)) | None => {
                self.remaining = 0;
                if let Err(panic) = self.finish() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
        batch
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.remaining))
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        // A panic of the thread is not of interest to a consumer that has gone.
        let _ = self.finish();
    }
}

impl Shared {
    /// Record indices in the order of `epoch`.
    fn order(&self, epoch: u64) -> Vec<usize> {
        let seed = self.options.seed;
        let records = &self.dataset.records;
        let mut order: Vec<usize> = if self.options.class_balanced {
            let mut members = vec![Vec::new(); self.dataset.classes.len()];
            for (index, record) in records.iter().enumerate() {
                members[record.label].push(index);
            }
            members.retain(|members| !members.is_empty());
            let mut rng = stream(Use::Balance, seed, epoch, 0);
            (0..records.len())
                .map(|i| {
                    let members = &members[i % members.len()];
                    members[rng.random_range(0..members.len())]
                })
                .collect()
        } else {
            (0..records.len()).collect()
        };
        if self.options.shuffle {
            order.shuffle(&mut stream(Use::Order, seed, epoch, 0));
        }
        order
    }

    /// What of a batch of `length` records is this process's.
    fn own_part(&self, length: usize) -> Range<usize> {
        let part = self.options.part_of_batch;
        part.range("batch_size", length).expect("full batches, as `new` has checked")
    }

    /// The batch of these records, the first of which has place `first` in the epoch; `None` where
    /// all of them were left out.
    fn batch(
        &self,
        epoch: u64,
        first: usize,
        indices: &[usize],
        unreadable: &Mutex<Vec<Unreadable>>,
    ) -> Result<Option<Batch>> {
        let samples: Vec<Result<Sample>> = self.pool.install(|| {
            indices
                .par_iter()
                .enumerate()
                .map(|(i, &index)| self.sample(epoch, first + i, index))
                .collect()
        });
        let mut kept = Vec::with_capacity(samples.len());
        for (sample, &index) in samples.into_iter().zip(indices) {
            match sample {
                Ok(sample) => kept.push(sample),
                Err(error) if self.options.on_unreadable == OnUnreadable::Skip => {
                    unreadable.lock().unwrap_or_else(PoisonError::into_inner).push(Unreadable {
                        id: self.dataset.records[index].id.clone(),
                        error: error.to_string(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        if kept.is_empty() {
            return Ok(None);
        }
        let LoaderOptions { ground_truth, device, .. } = self.options;
        let place = Place { pool: &self.pool, device };
        let batch = stack(kept, &self.dataset, &self.transform, ground_truth.is_some(), place)?;
        if let Some(queue) = &self.queue {
            let Batch { images, labels, ground_truth, .. } = &batch;
            queue.hand_over([images, labels].into_iter().chain(ground_truth))?;
        }
        Ok(Some(batch))
    }

    /// Decodes and transforms the record at `index`; `position` is its place in the epoch.
    fn sample(&self, epoch: u64, position: usize, index: usize) -> Result<Sample> {
        let record = &self.dataset.records[index];
        let named = |error: Error| Error::malformed(record.source.name(), error.to_string());
        let fixed = self.cache.get_or_load(index, || {
            let image = record.source.load()?;
            let plan = self.transform.fixed_plan(image.width(), image.height());
            Ok(Fixed { image: plan.image(&image).map_err(named)?, plan })
        })?;
        let mut plan = fixed.plan.clone();
        let mut rng = stream(Use::Transform, self.options.seed, epoch, position as u64);
        self.transform.extend(&mut plan, self.transform.fixed_operations(), &mut rng);
        let annotation = self.options.ground_truth.and_then(|kind| kind.of(record));
        Ok(Sample {
            index,
            image: plan.image_from(fixed.plan.steps().len(), &fixed.image).map_err(named)?,
            foreground: annotation.map(|annotation| annotation.rasterise(&plan)).transpose()?,
            boxes: record.boxes.iter().filter_map(|bbox| plan.bbox(bbox)).collect(),
        })
    }
}
