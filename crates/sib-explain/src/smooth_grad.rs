//! SmoothGrad.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use sib_core::{Backbone, Error, Result};
use tch::Tensor;

use crate::explainer::{ChannelReduction, InputAttribution};
use crate::spec::Spec;
use crate::target::Target;

pub(crate) const SPEC: Spec = Spec { name: "smooth-grad", title: "SmoothGrad", batch_size: 16 };

/// The mean of another method's signed attributions over noisy copies of the image (Smilkov et al.
/// 2017, arXiv:1706.03825, eq. in section 3), reduced as that method reduces.
///
/// All images of a call see the same standard noise, so a heatmap depends neither on the batch that
/// its image is in nor on any global state.
#[derive(Debug)]
pub struct SmoothGrad {
    /// The method whose attributions are averaged.
    pub of: Box<dyn InputAttribution>,
    /// Noisy copies of each image.
    pub samples: usize,
    /// Standard deviation of the noise, as a fraction of each image's range (max − min).
    pub noise_frac: f64,
    /// Seed of the noise.
    pub seed: u64,
}

impl InputAttribution for SmoothGrad {
    fn batch_size(&self) -> i64 {
        self.of.batch_size()
    }

    fn reduction(&self) -> ChannelReduction {
        self.of.reduction()
    }

    fn attribute(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        if self.samples == 0 {
            return Err(Error::invalid("smooth-grad.samples", 0, "at least 1"));
        }
        let all = [1, 2, 3];
        let range = images.amax(all.as_slice(), true) - images.amin(all.as_slice(), true);
        let sigma = range * self.noise_frac;
        let mut total = images.zeros_like();
        for sample in 0..self.samples as u64 {
            let noise = standard_normal(self.seed, sample, &images.size()[1..])
                .to(images.device())
                .to_kind(images.kind());
            total += self.of.attribute(model, &(images + &sigma * noise), target)?;
        }
        Ok(total / self.samples as f64)
    }
}

/// Standard normal noise of the given shape, f64 on the CPU.
fn standard_normal(seed: u64, stream: u64, shape: &[i64]) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let number = shape.iter().product::<i64>() as usize;
    let values: Vec<f64> = rng.sample_iter(StandardNormal).take(number).collect();
    Tensor::from_slice(&values).reshape(shape)
}
