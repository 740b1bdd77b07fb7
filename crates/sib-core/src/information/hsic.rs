//! The Hilbert–Schmidt independence criterion (Gretton et al. 2005, doi:10.1007/11564089_7).

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{Error, Result};

/// How HSIC is estimated from a batch of B images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// `tr(KHLH)/(B-1)²`, never negative; about `1/(B-1)` even for independent orthonormal rows.
    #[default]
    Biased,
    /// The U-statistic of Song et al. 2012 (JMLR 13:1393, eq. 5): zero mean under independence,
    /// may be negative, needs B >= 4.
    Unbiased,
    /// Centred kernel alignment (Kornblith et al. 2019, arXiv:1905.00414): biased HSIC divided by
    /// the geometric mean of the two self-HSICs, in `[0, 1]`.
    Cka,
}

impl Estimator {
    /// The smallest batch that the estimator is defined for.
    pub fn min_batch(self) -> i64 {
        match self {
            Self::Biased | Self::Cka => 2,
            Self::Unbiased => 4,
        }
    }
}

/// Gram matrix `[B,B]` of the linear kernel on rows `[B,D]`.
pub fn linear_gram(rows: &Tensor) -> Tensor {
    rows.matmul(&rows.transpose(0, 1))
}

/// HSIC of two Gram matrices `[B,B]` of the same B images: a differentiable scalar.
///
/// # Errors
/// When the matrices are not square and alike, or B is below [`Estimator::min_batch`].
pub fn hsic(k: &Tensor, l: &Tensor, estimator: Estimator) -> Result<Tensor> {
    let b = match k.size()[..] {
        [rows, columns] if rows == columns && l.size() == k.size() => rows,
        _ => return Err(Error::shape("gram matrix", l, format!("square, as {:?}", k.size()))),
    };
    if b < estimator.min_batch() {
        return Err(Error::invalid(
            "batch size",
            b,
            format!("at least {} images for HSIC ({estimator:?})", estimator.min_batch()),
        ));
    }
    Ok(match estimator {
        Estimator::Biased => biased(k, l, b),
        Estimator::Unbiased => unbiased(k, l, b),
        Estimator::Cka => {
            // Root before product, which would underflow sooner. The least positive number of f32 is
            // not 0 in any kind.
            let root = |k: &Tensor| biased(k, k, b).clamp_min(f64::from(f32::MIN_POSITIVE)).sqrt();
            biased(k, l, b) / (root(k) * root(l))
        }
    })
}

/// `K - row means - column means + mean`: HKH with `H = I - 11ᵀ/B`.
fn centre(k: &Tensor) -> Tensor {
    let mean = |dim: i64| k.mean_dim([dim].as_slice(), true, None::<Kind>);
    k - mean(0) - mean(1) + k.mean(None::<Kind>)
}

fn biased(k: &Tensor, l: &Tensor, b: i64) -> Tensor {
    (centre(k) * centre(l)).sum(None::<Kind>) / ((b - 1) * (b - 1)) as f64
}

fn unbiased(k: &Tensor, l: &Tensor, b: i64) -> Tensor {
    let off_diagonal = Tensor::ones_like(k) - Tensor::eye(b, (k.kind(), k.device()));
    let (k, l) = (k * &off_diagonal, l * off_diagonal);
    let n = b as f64;
    let sum = |x: &Tensor| x.sum(None::<Kind>);
    let column_sums = |x: &Tensor| x.sum_dim_intlist([0i64].as_slice(), false, None::<Kind>);
    let trace = sum(&(&k * &l));
    let product = sum(&k) * sum(&l) / ((n - 1.0) * (n - 2.0));
    let cross = sum(&(column_sums(&k) * column_sums(&l))) * (2.0 / (n - 2.0));
    (trace + product - cross) / (n * (n - 3.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{tensor::scalar, testing::formula_tensor};

    fn gram(name: &str, b: i64, d: i64) -> Tensor {
        linear_gram(&formula_tensor(name, &[b, d]))
    }

    #[test]
    fn orthonormal_rows_have_the_floor_of_the_biased_estimator() {
        for b in [2, 3, 8, 32] {
            let eye = Tensor::eye(b, (Kind::Double, tch::Device::Cpu));
            let value = scalar(&hsic(&eye, &eye, Estimator::Biased).unwrap());
            assert!((value - 1.0 / (b - 1) as f64).abs() < 1e-12, "{b}: {value}");
        }
    }

    #[test]
    fn unbiased_equals_the_average_over_distinct_quadruples() {
        // The U-statistic's definition: the mean of K_ij (L_ij + L_qr - 2 L_iq) over all ordered
        // quadruples of distinct indices.
        let b = 6;
        let (k, l) = (gram("k", b, 4), gram("l", b, 3));
        let at = |x: &Tensor, i, j| x.double_value(&[i, j]);
        let (mut sum, mut count) = (0.0, 0.0);
        for i in 0..b {
            for j in (0..b).filter(|&j| j != i) {
                for q in (0..b).filter(|&q| q != i && q != j) {
                    for r in (0..b).filter(|&r| r != i && r != j && r != q) {
                        sum += at(&k, i, j) * (at(&l, i, j) + at(&l, q, r) - 2.0 * at(&l, i, q));
                        count += 1.0;
                    }
                }
            }
        }
        let value = scalar(&hsic(&k, &l, Estimator::Unbiased).unwrap());
        assert!((value - sum / count).abs() < 1e-12, "{value} {}", sum / count);
    }

    #[test]
    fn cka_of_features_without_spread_is_0_in_any_kind() {
        for kind in [Kind::Double, Kind::Float] {
            let l = formula_tensor("l", &[4, 4]).to_kind(kind);
            assert_eq!(scalar(&hsic(&l.zeros_like(), &l, Estimator::Cka).unwrap()), 0.0);
        }
    }

    #[test]
    fn cka_is_one_for_the_same_features_at_any_scale() {
        let k = gram("k", 7, 5);
        let value = scalar(&hsic(&k, &(&k * 3.0), Estimator::Cka).unwrap());
        assert!((value - 1.0).abs() < 1e-12, "{value}");
    }

    #[test]
    fn permuting_the_images_changes_nothing() {
        let (k, l) = (gram("k", 7, 5), gram("l", 7, 9));
        let order = Tensor::from_slice(&[3i64, 0, 6, 1, 5, 2, 4]);
        let permute = |x: &Tensor| x.index_select(0, &order).index_select(1, &order);
        for estimator in [Estimator::Biased, Estimator::Unbiased, Estimator::Cka] {
            let value = |k: &Tensor, l: &Tensor| scalar(&hsic(k, l, estimator).unwrap());
            assert!((value(&k, &l) - value(&permute(&k), &permute(&l))).abs() < 1e-12);
        }
    }

    #[test]
    fn a_batch_too_small_is_refused() {
        let k = gram("k", 1, 5);
        assert!(hsic(&k, &k, Estimator::Biased).unwrap_err().to_string().contains("at least 2"));
        let k = gram("k", 3, 5);
        assert!(hsic(&k, &k, Estimator::Unbiased).unwrap_err().to_string().contains("at least 4"));
    }
}
