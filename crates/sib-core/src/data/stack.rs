//! Images of one size as a batch, on the device that works on it.

use image::RgbImage;
use rayon::ThreadPool;
use rayon::prelude::*;
use tch::{Device, Tensor};

use super::bbox::BBox;
use super::dataset::Dataset;
use super::loader::Batch;
use super::transform::Transform;
use crate::tensor::sent;
use crate::{Error, Result};

/// One image ready for its batch.
pub(super) struct Sample {
    /// Position in [`Dataset::records`].
    pub(super) index: usize,
    pub(super) image: RgbImage,
    /// A value a pixel.
    pub(super) foreground: Option<Vec<bool>>,
    pub(super) boxes: Vec<BBox>,
}

/// Where a batch is made.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    /// Threads for what the CPU does.
    pub(super) pool: &'p ThreadPool,
    /// Which is used from the calling thread alone, in whatever queue that is.
    pub(super) device: Device,
}

/// The batch of `samples` of `dataset`, made at `place`; with a ground truth where it is `wanted`.
///
/// # Errors
/// [`Error::Malformed`] naming the first image of another size than those before.
pub(super) fn stack(
    samples: Vec<Sample>,
    dataset: &Dataset,
    transform: &Transform,
    ground_truth_wanted: bool,
    place: Place<'_>,
) -> Result<Batch> {
    let device = place.device;
    let (width, height) = samples[0].image.dimensions();
    if let Some(other) = samples.iter().find(|s| s.image.dimensions() != (width, height)) {
        let (w, h) = other.image.dimensions();
        return Err(Error::malformed(
            dataset.records[other.index].source.name(),
            format!("{w}x{h} pixels beside {width}x{height} in one batch, expected one size"),
        ));
    }
    let size = [samples.len() as i64, height.into(), width.into()];
    let labels: Vec<i64> = samples.iter().map(|s| dataset.records[s.index].label as i64).collect();
    let ground_truth = ground_truth_wanted.then(|| foreground(&samples, size));
    Ok(Batch {
        images: images(&samples, size, transform, place),
        labels: sent(&Tensor::from_slice(&labels), device),
        ids: samples.iter().map(|s| dataset.records[s.index].id.clone()).collect(),
        annotated: samples.iter().map(|s| s.foreground.is_some()).collect(),
        indices: samples.iter().map(|s| s.index).collect(),
        boxes: samples.into_iter().map(|s| s.boxes).collect(),
        ground_truth: ground_truth.map(|foreground| sent(&foreground, device)),
    })
}

/// Normalised `[B,3,H,W]`, f32. To a GPU bytes travel, a quarter of it, and are normalised there.
fn images(
    samples: &[Sample],
    [batch, height, width]: [i64; 3],
    transform: &Transform,
    Place { pool, device }: Place<'_>,
) -> Tensor {
    let values_an_image = (3 * height * width) as usize;
    if device.is_cuda() {
        let mut bytes = Vec::with_capacity(samples.len() * values_an_image);
        samples.iter().for_each(|sample| bytes.extend_from_slice(sample.image.as_raw()));
        let bytes = Tensor::from_slice(&bytes).reshape([batch, height, width, 3]);
        return transform.normalised(&sent(&bytes, device));
    }
    let mut values = vec![0.0_f32; samples.len() * values_an_image];
    pool.install(|| {
        let images = values.par_chunks_exact_mut(values_an_image).zip(samples);
        images.for_each(|(values, sample)| transform.normalise_into(&sample.image, values));
    });
    Tensor::from_slice(&values).reshape([batch, 3, height, width])
}

/// `[B,H,W]`, bool; false all over where an image has none.
fn foreground(samples: &[Sample], size: [i64; 3]) -> Tensor {
    let pixels = (size[1] * size[2]) as usize;
    let mut foreground = Vec::with_capacity(samples.len() * pixels);
    for sample in samples {
        match &sample.foreground {
            Some(map) => foreground.extend_from_slice(map),
            None => foreground.resize(foreground.len() + pixels, false),
        }
    }
    Tensor::from_slice(&foreground).reshape(size)
}
