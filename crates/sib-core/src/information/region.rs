//! What the regions of R tell of the regions of the image.

use tch::Tensor;

use super::hsic::{Estimator, hsic, linear_gram};
use super::renyi::{ALPHA, NormalisedGram};
use crate::tensor::{l2_normalise_rows, rows, scalar};
use crate::{Error, Result};

/// One value for each pair of regions: first index the region of the image, second that of R; 0 is
/// the foreground, 1 the background.
pub type RegionPairs = [[f64; 2]; 2];

/// I(X_a; R_b) for a, b ∈ {foreground, background} (Figs. 1a and 5 of the paper), by three measures
/// on one batch. The paper names none. All three depend on the batch size, which is therefore part
/// of the result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegionInformation {
    /// How many images B the measures compared.
    pub batch: i64,
    /// Biased linear HSIC; at least 0, about 1/(B−1) for unlike images.
    pub hsic: RegionPairs,
    /// Centred kernel alignment, in [0, 1].
    pub cka: RegionPairs,
    /// Matrix-based Rényi mutual information at α = 1.01, in bits, up to log2 B.
    pub renyi_bits: RegionPairs,
}

impl RegionInformation {
    /// Measures a batch: the Gram matrices are linear, of the rows `X ⊙ M`, `X ⊙ (1−M)`, `R ⊙ M`
    /// and `R ⊙ (1−M)`, each image's scaled to unit length.
    ///
    /// `images`, `r`: `[B,C,H,W]`; `mask`: `[B,1,H,W]` in [0, 1].
    ///
    /// # Errors
    /// When the shapes do not fit, B is below 2, or a value is not finite; [`Error::Vanishing`] where
    /// a region of an image, or of its R, is zero everywhere: it can be compared with none.
    pub fn measure(images: &Tensor, r: &Tensor, mask: &Tensor) -> Result<Self> {
        let [batch, _, height, width] = images.size()[..] else {
            return Err(Error::shape("images", images, "[B,C,H,W]"));
        };
        if r.size() != images.size() {
            return Err(Error::shape("R", r, format!("{:?}", images.size())));
        }
        if mask.size() != [batch, 1, height, width] {
            return Err(Error::shape("mask", mask, format!("[{batch},1,{height},{width}]")));
        }
        let (mask, rest) = (mask.detach(), 1.0 - mask.detach());
        let gram = |what: &str, maps: &Tensor, region: &Tensor| -> Result<Tensor> {
            Ok(linear_gram(&unit_rows(what, &rows(&(maps.detach() * region)))?))
        };
        let of_images =
            [gram("the foreground", images, &mask)?, gram("the background", images, &rest)?];
        let of_r = [gram("R in the foreground", r, &mask)?, gram("R in the background", r, &rest)?];

        let normalised = |grams: &[Tensor; 2]| -> Result<[NormalisedGram; 2]> {
            Ok([NormalisedGram::new(&grams[0])?, NormalisedGram::new(&grams[1])?])
        };
        let (normalised_images, normalised_r) = (normalised(&of_images)?, normalised(&of_r)?);
        let mut result =
            Self { batch, hsic: [[0.0; 2]; 2], cka: [[0.0; 2]; 2], renyi_bits: [[0.0; 2]; 2] };
        for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (k, l) = (&of_images[a], &of_r[b]);
            result.hsic[a][b] = scalar(&hsic(k, l, Estimator::Biased)?);
            result.cka[a][b] = scalar(&hsic(k, l, Estimator::Cka)?);
            result.renyi_bits[a][b] =
                normalised_images[a].mutual_information_bits(&normalised_r[b], ALPHA)?;
        }
        Ok(result)
    }

    /// d = HSIC(R_fg, X_fg) − HSIC(R_bg, X_bg), whose z-score over models is the information
    /// differential of Table 3 of the paper.
    pub fn difference(&self) -> f64 {
        self.hsic[0][0] - self.hsic[1][1]
    }
}

/// Rows `[B,D]` scaled to unit length, however short they are.
fn unit_rows(what: &str, rows: &Tensor) -> Result<Tensor> {
    let largest = rows.abs().amax([-1i64].as_slice(), true);
    let zero: Vec<bool> = largest.flatten(0, -1).eq(0.0).try_into()?;
    if let Some(image) = zero.iter().position(|&zero| zero) {
        let what = format!("{what} of image {} of {}", image + 1, zero.len());
        return Err(Error::Vanishing { what });
    }
    // At a scale where the guard of the division does not count.
    Ok(l2_normalise_rows(&(rows / largest)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tch::{Device, Kind};

    use super::*;
    use crate::testing::{formula_tensor, golden_path, test_device};

    fn inputs(device: Device, kind: Kind) -> [Tensor; 3] {
        let images = formula_tensor("region.images", &[6, 3, 8, 8]);
        let r = (formula_tensor("region.r", &[6, 3, 8, 8]) + &images) * 1e-6;
        let mask = (formula_tensor("region.mask", &[6, 1, 8, 8]) + 1.0) / 2.0;
        [images, r, mask].map(|tensor| tensor.to_device(device).to_kind(kind))
    }

    #[test]
    fn equals_a_numpy_rendering() {
        let path = golden_path("metrics_information.safetensors");
        let golden: HashMap<String, Tensor> =
            Tensor::read_safetensors(&path).unwrap().into_iter().collect();
        // f32: Gram matrices of 192 products, good to 1e-7, and a division by 1 − α = 0.01.
        for (kind, tolerance) in [(Kind::Double, 1e-11), (Kind::Float, 2e-5)] {
            let [images, r, mask] = inputs(test_device(), kind);
            let measured = RegionInformation::measure(&images, &r, &mask).unwrap();
            for (name, ours) in [
                ("hsic", measured.hsic),
                ("cka", measured.cka),
                ("renyi_bits", measured.renyi_bits),
            ] {
                let theirs: Vec<f64> = golden[name].flatten(0, -1).try_into().unwrap();
                for (a, b) in ours.into_iter().flatten().zip(theirs) {
                    assert!((a - b).abs() < tolerance, "{name} {kind:?}: {a} against {b}");
                }
            }
        }
    }

    #[test]
    fn exchanging_the_regions_transposes_the_pairs() {
        let [images, r, mask] = inputs(test_device(), Kind::Double);
        let plain = RegionInformation::measure(&images, &r, &mask).unwrap();
        let exchanged = RegionInformation::measure(&images, &r, &(1.0 - mask)).unwrap();
        for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            assert!((plain.cka[a][b] - exchanged.cka[1 - a][1 - b]).abs() < 1e-12);
        }
        assert!((plain.difference() + exchanged.difference()).abs() < 1e-12);
    }

    #[test]
    fn the_scale_of_r_changes_nothing_and_an_r_of_zeros_is_refused() {
        let [images, r, mask] = inputs(test_device(), Kind::Double);
        let plain = RegionInformation::measure(&images, &r, &mask).unwrap();
        let small = RegionInformation::measure(&images, &(&r * 1e-24), &mask).unwrap();
        for (a, b) in plain.hsic.iter().flatten().zip(small.hsic.iter().flatten()) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
        let without = |image: i64, maps: &Tensor| {
            let maps = maps.copy();
            let _ = maps.get(image).zero_();
            maps
        };
        for (maps, image, expected) in [
            ([&images, &without(3, &r)], 4, "R in the foreground of image 4 of 6"),
            ([&without(0, &images), &r], 1, "the foreground of image 1 of 6"),
        ] {
            let error = RegionInformation::measure(maps[0], maps[1], &mask).unwrap_err();
            assert!(matches!(error, Error::Vanishing { .. }), "{image}: {error}");
            assert!(error.to_string().starts_with(expected), "{error}");
        }
        // All of R inside the mask: nothing is left to compare outside.
        let ones = mask.ones_like();
        let error = RegionInformation::measure(&images, &r, &ones).unwrap_err();
        assert!(error.to_string().starts_with("the background of image 1"), "{error}");
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let [images, r, mask] = inputs(Device::Cpu, Kind::Double);
        assert!(RegionInformation::measure(&images.get(0), &r, &mask).is_err());
        assert!(RegionInformation::measure(&images, &r.narrow(0, 0, 3), &mask).is_err());
        assert!(RegionInformation::measure(&images, &r, &images).is_err());
        let first = |tensor: &Tensor| tensor.narrow(0, 0, 1);
        assert!(RegionInformation::measure(&first(&images), &first(&r), &first(&mask)).is_err());
    }
}
