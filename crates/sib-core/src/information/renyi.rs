//! Matrix-based Rényi entropy and mutual information (Giraldo, Rao & Príncipe 2015,
//! arXiv:1211.2459).

use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// The order α that the measures are reported at: close to Shannon's, 1, where the formula is 0/0.
pub const ALPHA: f64 = 1.01;

/// A Gram matrix scaled to unit trace, `A_ij = K_ij / (n·sqrt(K_ii·K_jj))`, in f64 on
/// the CPU: it is `[B,B]`, and its entropy is a function of its eigenvalues.
///
/// An image whose features are all zero counts as unlike every other: its row is that of the
/// identity matrix, over n.
#[derive(Debug)]
pub struct NormalisedGram(Tensor);

impl NormalisedGram {
    /// The normalised form of `gram`, symmetric positive semidefinite `[B,B]`.
    ///
    /// # Errors
    /// When the matrix is not square, is empty, or holds a value that is not finite.
    pub fn new(gram: &Tensor) -> Result<Self> {
        let b = match gram.size()[..] {
            [rows, columns] if rows == columns && rows > 0 => rows,
            _ => return Err(Error::shape("gram matrix", gram, "[B,B]")),
        };
        let gram = gram.detach().to_kind(Kind::Double).to_device(Device::Cpu);
        if gram.isfinite().all().int64_value(&[]) == 0 {
            return Err(Error::NonFinite { what: "a gram matrix".to_owned() });
        }
        let norms = gram.diagonal(0, 0, 1).clamp_min(0.0).sqrt(); // [B]
        let inverse = norms.reciprocal().where_self(&norms.gt(0.0), &norms.zeros_like());
        let mut cosines = gram * inverse.unsqueeze(0) * inverse.unsqueeze(1);
        let _ = cosines.fill_diagonal_(1.0, false);
        Ok(Self(cosines / b as f64))
    }

    /// `S_α(A) = log2(Σ λ_i^α) / (1 − α)` over the eigenvalues of A: bits, in `[0, log2 B]`.
    ///
    /// # Errors
    /// When `alpha` is not above 0 or is 1, or the eigenvalues do not converge.
    pub fn entropy_bits(&self, alpha: f64) -> Result<f64> {
        if !(alpha > 0.0 && alpha.is_finite()) || alpha == 1.0 {
            return Err(Error::invalid("alpha", alpha, "a number above 0 other than 1"));
        }
        // Rounding leaves null eigenvalues on either side of zero.
        let eigenvalues: Vec<f64> = self.0.f_linalg_eigvalsh("L")?.clamp_min(0.0).try_into()?;
        let power_sum: f64 = eigenvalues.iter().map(|eigenvalue| eigenvalue.powf(alpha)).sum();
        Ok(power_sum.log2() / (1.0 - alpha))
    }

    /// `I_α(A;B) = S_α(A) + S_α(B) − S_α(A∘B / tr(A∘B))` in bits.
    ///
    /// The joint matrix is positive semidefinite by Schur's product theorem. Of Gram matrices with
    /// no negative entry the result is never negative; the linear kernel's have some, so a small
    /// negative value is possible and returned as it is.
    ///
    /// # Errors
    /// When the matrices are not of one size, or as [`NormalisedGram::entropy_bits`].
    pub fn mutual_information_bits(&self, other: &Self, alpha: f64) -> Result<f64> {
        Ok(self.entropy_bits(alpha)? + other.entropy_bits(alpha)?
            - self.joint(other)?.entropy_bits(alpha)?)
    }

    /// The same of the images in another `order`, i64 `[B]`.
    pub fn reordered(&self, order: &Tensor) -> Self {
        Self(self.0.index_select(0, order).index_select(1, order))
    }

    /// `A∘B / tr(A∘B)`, whose entropy is that of both sets of features together.
    ///
    /// # Errors
    /// When the matrices are not of one size.
    pub fn joint(&self, other: &Self) -> Result<Self> {
        if other.0.size() != self.0.size() {
            let expected = format!("{:?}", self.0.size());
            return Err(Error::shape("gram matrix", &other.0, expected));
        }
        let product = &self.0 * &other.0;
        let trace = product.trace();
        Ok(Self(product / trace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{information::linear_gram, testing::formula_tensor};

    fn normalised(name: &str, b: i64, d: i64) -> NormalisedGram {
        NormalisedGram::new(&linear_gram(&formula_tensor(name, &[b, d]))).unwrap()
    }

    #[test]
    fn entropies_in_closed_form() {
        let eye = NormalisedGram::new(&(Tensor::eye(8, (Kind::Float, Device::Cpu)) * 5.0)).unwrap();
        let ones = NormalisedGram::new(&Tensor::ones([8, 8], (Kind::Float, Device::Cpu))).unwrap();
        for alpha in [0.5, ALPHA, 2.0] {
            // log of an α-power sum, divided by 1 − α = 0.01: 1e-16 of rounding grows to 1e-13.
            assert!((eye.entropy_bits(alpha).unwrap() - 3.0).abs() < 1e-11);
            assert!(
                ones.entropy_bits(alpha).unwrap().abs() < 1e-5,
                "eigenvalues of 1e-17 to α 0.5"
            );
            // Unlike images tell all of each other, like ones nothing.
            let self_information = eye.mutual_information_bits(&eye, alpha).unwrap();
            assert!((self_information - 3.0).abs() < 1e-11);
            assert!(eye.mutual_information_bits(&ones, alpha).unwrap().abs() < 1e-5);
        }
    }

    #[test]
    fn two_images_at_an_angle_in_closed_form() {
        // Eigenvalues (1 ± cos)/2; at α = 2 the entropy is -log2((1 + cos²)/2).
        let rows = Tensor::from_slice2(&[[2.0, 0.0], [3.0f64.sqrt(), 1.0]]);
        let entropy = NormalisedGram::new(&linear_gram(&rows)).unwrap().entropy_bits(2.0).unwrap();
        assert!((entropy + ((1.0 + 0.75) / 2.0f64).log2()).abs() < 1e-14, "{entropy}");
    }

    #[test]
    fn scale_and_order_of_the_images_change_nothing() {
        let rows = formula_tensor("rows", &[7, 20]);
        let order = Tensor::from_slice(&[3i64, 0, 6, 1, 5, 2, 4]);
        let scales = (formula_tensor("scales", &[7, 1]) + 1.5) * 1e-6;
        let entropy = |rows: &Tensor| {
            NormalisedGram::new(&linear_gram(rows)).unwrap().entropy_bits(ALPHA).unwrap()
        };
        let plain = entropy(&rows);
        assert!((entropy(&(&rows * scales)) - plain).abs() < 1e-11);
        assert!((entropy(&rows.index_select(0, &order)) - plain).abs() < 1e-11);
    }

    #[test]
    fn an_image_without_features_is_unlike_the_others() {
        let rows = Tensor::from_slice2(&[[1.0, 0.0], [0.0, 0.0], [0.0, 2.0], [0.0, 0.0]]);
        let entropy = NormalisedGram::new(&linear_gram(&rows)).unwrap().entropy_bits(ALPHA);
        assert!((entropy.unwrap() - 2.0).abs() < 1e-11);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let a = normalised("a", 4, 9);
        assert!(a.entropy_bits(1.0).is_err() && a.entropy_bits(-1.0).is_err());
        assert!(a.mutual_information_bits(&normalised("b", 5, 9), ALPHA).is_err());
        assert!(NormalisedGram::new(&formula_tensor("c", &[4, 5])).is_err());
        let nan = linear_gram(&formula_tensor("a", &[4, 9])) * f64::NAN;
        assert!(matches!(NormalisedGram::new(&nan), Err(Error::NonFinite { .. })));
    }
}
