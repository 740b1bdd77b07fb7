//! What takes the place of a pixel.

use std::fmt;
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use sib_core::{Error, Result};
use tch::Tensor;

/// What takes the place of removed pixels, in normalised space.
///
/// In configuration files and on the command line written `zeros`, `mean`, `blur(gaussian)`,
/// `blur(rise)` or `noise(SEED)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Substrate {
    /// Zero: the mean colour of the normalisation.
    Zeros,
    /// The mean colour of the image itself.
    Mean,
    /// The image blurred.
    Blur(Blur),
    /// Uniform noise between the lowest and the highest value of each channel of the image: the
    /// same pattern for every image of one size, drawn with this seed.
    Noise(u64),
}

/// A blur kernel of 11 × 11 pixels, applied as a zero-padded convolution per channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blur {
    /// A sampled Gaussian of σ = 5 pixels.
    Gaussian,
    /// The kernel of RISE's published code: a unit impulse in 11 × 11 pixels after a Gaussian filter
    /// of σ = 5 with reflecting borders, which is nearly flat.
    Rise,
}

const TAPS: usize = 11;
const SIGMA_PX: f64 = 5.0;

impl Blur {
    /// The kernel's factor along one axis; it sums to 1, and both kernels are separable.
    fn taps(self) -> [f64; TAPS] {
        let bell = |offset: i32| (-0.5 * (f64::from(offset) / SIGMA_PX).powi(2)).exp();
        let centre = (TAPS / 2) as i32;
        let raw: [f64; TAPS] = match self {
            Self::Gaussian => std::array::from_fn(|i| bell(i as i32 - centre)),
            Self::Rise => {
                // The filter reaches 4σ. Where offset o lands, borders reflected, on the impulse:
                // the image is repeated forwards and backwards with a period of 22.
                let reach = (4.0 * SIGMA_PX) as i32;
                let period = 2 * TAPS as i32;
                let lands = |at: i32| {
                    let place = at.rem_euclid(period);
                    place.min(period - 1 - place) == centre
                };
                std::array::from_fn(|i| {
                    (-reach..=reach).filter(|&o| lands(i as i32 + o)).map(bell).sum()
                })
            }
        };
        let sum: f64 = raw.iter().sum();
        raw.map(|tap| tap / sum)
    }

    fn of(self, image: &Tensor) -> Result<Tensor> {
        let (pad, taps) = ((TAPS / 2) as i64, TAPS as i64);
        let kernel =
            Tensor::from_slice(&self.taps()).to_kind(image.kind()).to_device(image.device());
        let no_bias = None::<&Tensor>;
        let channels = image.f_transpose(0, 1)?; // [3,1,H,W]: the kernel sees one channel at a time
        let rows = channels
            .f_conv2d(&kernel.view([1, 1, 1, taps]), no_bias, [1, 1], [0, pad], [1, 1], 1)?
            .f_conv2d(&kernel.view([1, 1, taps, 1]), no_bias, [1, 1], [pad, 0], [1, 1], 1)?;
        Ok(rows.f_transpose(0, 1)?.f_contiguous()?)
    }
}

impl Substrate {
    /// The substrate of `image` `[1,3,H,W]`, of the same shape.
    pub(super) fn of(self, image: &Tensor) -> Result<Tensor> {
        match self {
            Self::Zeros => Ok(image.f_zeros_like()?),
            Self::Mean => {
                let mean = image.f_mean_dim([2i64, 3].as_slice(), true, image.kind())?;
                Ok(mean.f_expand_as(image)?.f_contiguous()?)
            }
            Self::Blur(kernel) => kernel.of(image),
            Self::Noise(seed) => {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                // 24 bits: exact in f32, so the same on every device.
                let uniform: Vec<f32> = (0..image.numel())
                    .map(|_| (random.next_u32() >> 8) as f32 / (1 << 24) as f32)
                    .collect();
                let uniform = Tensor::from_slice(&uniform).f_view_as(image)?;
                let uniform = uniform.to_kind(image.kind()).to_device(image.device());
                let low = image.f_amin([2i64, 3].as_slice(), true)?;
                let high = image.f_amax([2i64, 3].as_slice(), true)?;
                Ok(uniform * (high - &low) + low)
            }
        }
    }
}

impl fmt::Display for Substrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zeros => f.write_str("zeros"),
            Self::Mean => f.write_str("mean"),
            Self::Blur(Blur::Gaussian) => f.write_str("blur(gaussian)"),
            Self::Blur(Blur::Rise) => f.write_str("blur(rise)"),
            Self::Noise(seed) => write!(f, "noise({seed})"),
        }
    }
}

impl FromStr for Substrate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let seed = || text.strip_prefix("noise(")?.strip_suffix(')')?.parse().ok();
        match text {
            "zeros" => Ok(Self::Zeros),
            "mean" => Ok(Self::Mean),
            "blur(gaussian)" => Ok(Self::Blur(Blur::Gaussian)),
            "blur(rise)" => Ok(Self::Blur(Blur::Rise)),
            _ => seed().map(Self::Noise).ok_or_else(|| {
                let expected = "zeros, mean, blur(gaussian), blur(rise) or noise(SEED)";
                Error::invalid("substrate", text, expected)
            }),
        }
    }
}

impl TryFrom<String> for Substrate {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Substrate> for String {
    fn from(substrate: Substrate) -> Self {
        substrate.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substrates_are_written_as_they_are_read() {
        for text in ["zeros", "mean", "blur(gaussian)", "blur(rise)", "noise(7)"] {
            assert_eq!(text.parse::<Substrate>().unwrap().to_string(), text);
        }
        for text in ["", "blur", "blur(box)", "noise", "noise(-1)", "Zeros"] {
            assert!(text.parse::<Substrate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_constant_image_is_its_own_substrate_away_from_the_border() {
        let image = Tensor::full([1, 3, 24, 26], 0.7, (tch::Kind::Double, tch::Device::Cpu));
        for text in ["mean", "blur(gaussian)", "blur(rise)", "noise(7)"] {
            let substrate = text.parse::<Substrate>().unwrap().of(&image).unwrap();
            assert_eq!(substrate.size(), image.size());
            let middle = substrate.narrow(2, 5, 14).narrow(3, 5, 16) - 0.7;
            assert!(middle.abs().max().double_value(&[]) < 1e-15, "{text}");
        }
    }

    #[test]
    fn noise_stays_in_each_channel_s_range_and_follows_its_seed() {
        let image = sib_core::testing::formula_tensor("image", &[1, 3, 8, 8])
            * Tensor::from_slice(&[1.0, 2.0, 3.0]).view([1, 3, 1, 1]);
        let noise = |seed| Substrate::Noise(seed).of(&image).unwrap();
        let drawn = noise(1);
        assert!(drawn.equal(&noise(1)) && !drawn.equal(&noise(2)));
        for channel in 0..3 {
            let (own, drawn) = (image.select(1, channel), drawn.select(1, channel));
            assert!(drawn.min().double_value(&[]) >= own.min().double_value(&[]));
            assert!(drawn.max().double_value(&[]) <= own.max().double_value(&[]));
        }
    }
}
