//! Mixtures of the images of a batch, and the soft targets that go with them.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::random::{Use, stream};
use crate::{Error, Result};

/// How a batch is mixed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mix {
    /// Weighted sums of two images (Zhang et al. 2018, arXiv:1710.09412).
    Mixup {
        /// Of the Beta(alpha, alpha) distribution of the weight.
        alpha: f64,
    },
    /// A rectangle of another image (Yun et al. 2019, doi:10.1109/ICCV.2019.00612).
    CutMix {
        /// Of the Beta(alpha, alpha) distribution of the area outside the rectangle.
        alpha: f64,
    },
}

impl Mix {
    /// Checks the range of `alpha`; `prefix` names the table it stands in.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(self, prefix: &str) -> Result<()> {
        self.beta(prefix).map(drop)
    }

    /// The distribution of the weight.
    pub(super) fn beta(self, prefix: &str) -> Result<Beta<f64>> {
        let (name, alpha) = match self {
            Self::Mixup { alpha } => ("mixup", alpha),
            Self::CutMix { alpha } => ("cut-mix", alpha),
        };
        let beta = Beta::new(alpha, alpha).ok().filter(|_| alpha.is_finite());
        beta.ok_or_else(|| {
            Error::invalid(format!("{prefix}.{name}.alpha"), alpha, "a number above 0")
        })
    }

    /// Mixes `images` `[B,3,H,W]` with a permutation of themselves; the choices follow from
    /// (`seed`, `epoch`, `batch`).
    ///
    /// Returns the mixed images and the targets `[B,K]`, f32: of `targets` `[B,K]`, the same mixture.
    ///
    /// # Errors
    /// Where `alpha` is not positive, or the shapes are not those.
    pub fn apply(
        self,
        images: &Tensor,
        targets: &Tensor,
        seed: u64,
        epoch: u64,
        batch: u64,
    ) -> Result<(Tensor, Tensor)> {
        let &[count, _, height, width] = images.size().as_slice() else {
            return Err(Error::shape("images", images, "[B,3,H,W]"));
        };
        if targets.size().first() != Some(&count) || targets.dim() != 2 {
            return Err(Error::shape("targets", targets, format!("[{count},K]")));
        }
        let beta = self.beta("mix")?;
        let mut rng = stream(Use::Mix, seed, epoch, batch);
        let mut order: Vec<i64> = (0..count).collect();
        order.shuffle(&mut rng);
        let order = Tensor::from_slice(&order).to_device(images.device());
        let weight = beta.sample(&mut rng);
        let others = images.index_select(0, &order);
        let (mixed, weight) = match self {
            Self::Mixup { .. } => (images * weight + others * (1.0 - weight), weight),
            Self::CutMix { .. } => {
                // A rectangle of the image's aspect around a random point, cut at the border; the
                // weight is the area that is really left.
                let side = (1.0 - weight).sqrt();
                let mut span = |length: i64| {
                    let middle = rng.random_range(0..length);
                    let half = (side * length as f64) as i64 / 2;
                    ((middle - half).max(0), (middle + half).min(length))
                };
                let ((y0, y1), (x0, x1)) = (span(height), span(width));
                let mixed = images.copy();
                mixed
                    .narrow(2, y0, y1 - y0)
                    .narrow(3, x0, x1 - x0)
                    .copy_(&others.narrow(2, y0, y1 - y0).narrow(3, x0, x1 - x0));
                let cut = ((y1 - y0) * (x1 - x0)) as f64 / (height * width) as f64;
                (mixed, 1.0 - cut)
            }
        };
        let other_targets = targets.index_select(0, &order);
        Ok((mixed, targets * weight + other_targets * (1.0 - weight)))
    }
}

/// Targets `[B,K]`, f32, of `labels` `[B]`: `1 - smoothing + smoothing/K` at the label and
/// `smoothing/K` elsewhere (Szegedy et al. 2016, doi:10.1109/CVPR.2016.308).
///
/// # Errors
/// Where `smoothing` is outside `[0,1)`.
pub fn soft_targets(labels: &Tensor, classes: i64, smoothing: f64) -> Result<Tensor> {
    if !(0.0..1.0).contains(&smoothing) {
        return Err(Error::invalid("label_smoothing", smoothing, "a number in [0, 1)"));
    }
    let hard = labels.f_one_hot(classes)?.to_kind(Kind::Float);
    Ok(hard * (1.0 - smoothing) + smoothing / classes as f64)
}
