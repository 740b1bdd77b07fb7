//! The foreground term: alignment of R with the input where the mask is (eq. 12 of the paper).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::group::Group;
use crate::information::{Estimator, hsic, linear_gram};
use crate::tensor::{l2_normalise_rows, rows};
use crate::{Error, Result};

/// Scaling of the feature rows before HSIC (decision D1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowNormalise {
    /// Rows as they are.
    None,
    /// Rows of unit Euclidean length: HSIC does not depend on the scale of R.
    #[default]
    L2,
}

/// How HSIC of foreground R and foreground input is computed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HsicConfig {
    /// Scaling of the rows.
    pub normalise: RowNormalise,
    /// The estimator.
    pub estimator: Estimator,
    /// Project rows to this many features by a count sketch first; unset: no projection.
    pub projection: Option<i64>,
}

impl HsicConfig {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(&self) -> Result<()> {
        match self.projection {
            Some(k) if k < 1 => Err(Error::invalid("projection", k, "at least 1 feature")),
            _ => Ok(()),
        }
    }

    /// HSIC of two batches of maps `[B,C,H,W]`: a differentiable scalar.
    ///
    /// # Errors
    /// When B is too small for the estimator.
    pub fn hsic(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.hsic_of_group(a, b, &Group::alone())
    }

    /// HSIC of the batches of which `a` and `b` are this member's part of `group`: the same scalar with all members,
    /// whose gradients' mean is that of the whole.
    ///
    /// # Errors
    /// As [`Self::hsic`]; where another member does not take part.
    pub(super) fn hsic_of_group(&self, a: &Tensor, b: &Tensor, group: &Group) -> Result<Tensor> {
        let gram = |maps| Ok::<_, Error>(linear_gram(&group.gathered(&self.features(maps))?));
        Ok(group.of_all_rows(hsic(&gram(a)?, &gram(b)?, self.estimator)?))
    }

    /// Gram matrix `[B,B]` of a batch of maps `[B,C,H,W]`, rows scaled and projected as set.
    pub fn gram(&self, maps: &Tensor) -> Tensor {
        linear_gram(&self.features(maps))
    }

    /// Rows `[B,D]` of a batch of maps `[B,C,H,W]`, scaled and projected as set.
    fn features(&self, maps: &Tensor) -> Tensor {
        let mut features = rows(maps);
        if self.normalise == RowNormalise::L2 {
            features = l2_normalise_rows(&features);
        }
        if let Some(k) = self.projection {
            features = count_sketch(&features, k);
        }
        features
    }
}

/// Rows `[B,D]` to `[B,k]`: each feature is added with a random sign to a random bucket (Charikar,
/// Chen & Farach-Colton 2002, doi:10.1007/3-540-45465-9_59), so that inner products are kept in
/// expectation. The hash is the same in every call.
fn count_sketch(features: &Tensor, k: i64) -> Tensor {
    let d = features.size()[1];
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let (buckets, signs): (Vec<i64>, Vec<f32>) =
        (0..d).map(|_| (rng.random_range(0..k), if rng.random() { 1.0 } else { -1.0 })).unzip();
    let device = features.device();
    let signs = Tensor::from_slice(&signs).to_kind(features.kind()).to_device(device);
    let buckets = Tensor::from_slice(&buckets).to_device(device);
    let zeros = Tensor::zeros([features.size()[0], k], (features.kind(), device));
    zeros.index_add(1, &buckets, &(features * signs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{tensor::scalar, testing::formula_tensor};

    #[test]
    fn l2_rows_make_hsic_independent_of_scale() {
        let (a, b) = (formula_tensor("a", &[5, 3, 8, 8]), formula_tensor("b", &[5, 3, 8, 8]));
        let config = HsicConfig::default();
        let value = scalar(&config.hsic(&a, &b).unwrap());
        let scaled = scalar(&config.hsic(&(&a * 1e-6), &(&b * 10.0)).unwrap());
        assert!((value - scaled).abs() < 1e-12 && value > 0.0, "{value} {scaled}");
    }

    #[test]
    fn a_wide_sketch_keeps_hsic() {
        let (a, b) = (formula_tensor("a", &[5, 3, 16, 16]), formula_tensor("b", &[5, 3, 16, 16]));
        let exact = scalar(&HsicConfig::default().hsic(&a, &b).unwrap());
        let sketched = HsicConfig { projection: Some(1 << 16), ..HsicConfig::default() };
        let sketched = scalar(&sketched.hsic(&a, &b).unwrap());
        // 768 features in 65536 buckets: about 4 collisions are expected, each of weight 1/768.
        assert!((sketched / exact - 1.0).abs() < 0.05, "{exact} {sketched}");
    }
}
