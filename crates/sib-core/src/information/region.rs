//! What the regions of R tell of the regions of the image.

use rand::seq::SliceRandom;
use tch::{Device, Kind, Tensor};

use super::hsic::{Estimator, hsic, linear_gram};
use super::renyi::{ALPHA, NormalisedGram};
use crate::random::{Use, stream};
use crate::tensor::{l2_normalise_rows, rows, scalar};
use crate::{Error, Result};

/// One value for each pair of regions: first index the region of the image, second that of R; 0 is
/// the foreground, 1 the background.
pub type RegionPairs = [[f64; 2]; 2];

/// I(X_a; R_b) for a, b ∈ {foreground, background} (Figs. 1a and 5 of the paper), by four measures
/// on one batch. The paper names none. All depend on the batch size, which is therefore part
/// of the result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegionInformation {
    /// How many images B the measures compared.
    pub batch: i64,
    /// Biased linear HSIC; at least 0, about 1/(B−1) for unlike images.
    pub hsic: RegionPairs,
    /// Unbiased linear HSIC; about 0 for independent features, may be negative. NaN of fewer than 4 images.
    pub hsic_unbiased: RegionPairs,
    /// Centred kernel alignment, in [0, 1].
    pub cka: RegionPairs,
    /// Matrix-based Rényi mutual information at α = 1.01, in bits, up to log2 B.
    pub renyi_bits: RegionPairs,
}

impl RegionInformation {
    /// Measures a batch: see [`Regions::new`].
    ///
    /// # Errors
    /// As [`Regions::new`].
    pub fn measure(images: &Tensor, r: &Tensor, mask: &Tensor) -> Result<Self> {
        Regions::new(images, r, mask)?.information()
    }

    /// d = HSIC(R_fg, X_fg) − HSIC(R_bg, X_bg), whose z-score over models is the information
    /// differential of Table 3 of the paper.
    pub fn difference(&self) -> f64 {
        self.hsic[0][0] - self.hsic[1][1]
    }
}

/// The Gram matrices `[B,B]` of the regions of a batch and of its R, f64 on the CPU.
#[derive(Debug)]
pub struct Regions {
    images: [Features; 2],
    r: [Features; 2],
}

/// What the measures see of a region.
#[derive(Debug)]
struct Features {
    gram: Tensor,
    normalised: NormalisedGram,
    /// Of the normalised matrix, in bits.
    entropy: f64,
}

impl Features {
    fn of(what: &str, maps: &Tensor, region: &Tensor) -> Result<Self> {
        let gram = linear_gram(&unit_rows(what, &rows(&(maps.detach() * region)))?);
        let gram = gram.to_kind(Kind::Double).to_device(Device::Cpu);
        let normalised = NormalisedGram::new(&gram)?;
        let entropy = normalised.entropy_bits(ALPHA)?;
        Ok(Self { gram, normalised, entropy })
    }

    /// Those of the images in another order.
    fn reordered(&self, order: &Tensor) -> Self {
        Self {
            gram: self.gram.index_select(0, order).index_select(1, order),
            normalised: self.normalised.reordered(order),
            entropy: self.entropy,
        }
    }
}

impl Regions {
    /// Of a batch: the Gram matrices are linear, of the rows `X ⊙ M`, `X ⊙ (1−M)`, `R ⊙ M`
    /// and `R ⊙ (1−M)`, each image's scaled to unit length.
    ///
    /// `images`, `r`: `[B,C,H,W]`; `mask`: `[B,1,H,W]` in [0, 1].
    ///
    /// # Errors
    /// When the shapes do not fit or a value is not finite; [`Error::Vanishing`] where a region of an
    /// image, or of its R, is zero everywhere: it can be compared with none.
    pub fn new(images: &Tensor, r: &Tensor, mask: &Tensor) -> Result<Self> {
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
        Ok(Self {
            images: [
                Features::of("the foreground", images, &mask)?,
                Features::of("the background", images, &rest)?,
            ],
            r: [
                Features::of("R in the foreground", r, &mask)?,
                Features::of("R in the background", r, &rest)?,
            ],
        })
    }

    /// What the regions of each image's R tell of those of the image.
    ///
    /// # Errors
    /// When B is below 2.
    pub fn information(&self) -> Result<RegionInformation> {
        self.with(&self.r)
    }

    /// The same with R of the images in random orders: what the measures come to for pairs that do not belong
    /// together. Batch `number` has its own orders, which follow from `seed`; all pairs of regions share them.
    ///
    /// # Errors
    /// When B is below 2.
    pub fn shuffled(&self, times: usize, seed: u64, number: u64) -> Result<Vec<RegionInformation>> {
        let mut rng = stream(Use::Pairing, seed, number, 0);
        let mut order: Vec<i64> = (0..self.r[0].gram.size()[0]).collect();
        (0..times)
            .map(|_| {
                order.shuffle(&mut rng);
                let order = Tensor::from_slice(&order);
                self.with(&self.r.each_ref().map(|of| of.reordered(&order)))
            })
            .collect()
    }

    fn with(&self, r: &[Features; 2]) -> Result<RegionInformation> {
        let batch = self.images[0].gram.size()[0];
        let nothing = [[f64::NAN; 2]; 2];
        let mut result = RegionInformation {
            batch,
            hsic: nothing,
            hsic_unbiased: nothing,
            cka: nothing,
            renyi_bits: nothing,
        };
        for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (x, r) = (&self.images[a], &r[b]);
            let by = |estimator| Ok::<_, Error>(scalar(&hsic(&x.gram, &r.gram, estimator)?));
            result.hsic[a][b] = by(Estimator::Biased)?;
            result.cka[a][b] = by(Estimator::Cka)?;
            if batch >= Estimator::Unbiased.min_batch() {
                result.hsic_unbiased[a][b] = by(Estimator::Unbiased)?;
            }
            let joint = x.normalised.joint(&r.normalised)?.entropy_bits(ALPHA)?;
            result.renyi_bits[a][b] = x.entropy + r.entropy - joint;
        }
        Ok(result)
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
    fn pairs_at_random_have_the_mean_that_is_known_of_them() {
        let [images, r, mask] = inputs(test_device(), Kind::Double);
        let regions = Regions::new(&images, &r, &mask).unwrap();
        let shuffled = regions.shuffled(4000, 43, 0).unwrap();
        let centred = |gram: &Tensor| {
            let mean = |dim: i64| gram.mean_dim([dim].as_slice(), true, None::<Kind>);
            gram - mean(0) - mean(1) + gram.mean(None::<Kind>)
        };
        for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let values: Vec<f64> = shuffled.iter().map(|it| it.hsic[a][b]).collect();
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let deviation =
                (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
            // Of all B! orders: tr(HKH) tr(HLH) / (B−1)³, as each element of the diagonal of one meets each of the
            // other, and all others sum up to their negative (Kazi-Aoual et al. 1995, doi:10.1016/0167-9473(94)00064-2).
            let traces = [&regions.images[a], &regions.r[b]]
                .map(|of| scalar(&centred(&of.gram).trace()))
                .iter()
                .product::<f64>();
            let expected = traces / 5f64.powi(3);
            assert!((mean - expected).abs() < 4.0 * deviation / n.sqrt(), "{mean} {expected}");
        }
        assert_eq!(regions.shuffled(3, 43, 0).unwrap(), shuffled[..3]);
        assert_ne!(regions.shuffled(3, 43, 1).unwrap(), shuffled[..3]);
        assert_ne!(regions.shuffled(3, 44, 0).unwrap(), shuffled[..3]);
    }

    #[test]
    fn no_other_pairs_tell_as_much_as_those_of_the_same_thing() {
        let [images, _, mask] = inputs(Device::Cpu, Kind::Double);
        let regions = Regions::new(&images, &images, &mask).unwrap();
        let own = regions.information().unwrap();
        for other in regions.shuffled(100, 43, 0).unwrap() {
            for region in 0..2 {
                let at = |of: &RegionInformation| {
                    [of.hsic, of.hsic_unbiased, of.cka].map(|measure| measure[region][region])
                };
                for (own, other) in at(&own).into_iter().zip(at(&other)) {
                    assert!(own > other - 1e-12, "{own} {other}");
                }
            }
        }
    }

    #[test]
    fn the_unbiased_measure_of_few_images_is_none() {
        let three = inputs(Device::Cpu, Kind::Double).map(|tensor| tensor.narrow(0, 0, 3));
        let measured = RegionInformation::measure(&three[0], &three[1], &three[2]).unwrap();
        assert!(measured.hsic_unbiased.as_flattened().iter().all(|value| value.is_nan()));
        assert!(measured.hsic.as_flattened().iter().all(|value| value.is_finite()));
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
