//! From a stored image to normalised model input, with torchvision's rules and distributions.

use image::RgbImage;
use rand::Rng;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::decode::{self, Orientation};
use super::plan::{Plan, Step};
use super::trivial_augment;
use crate::checkpoint::Preprocessing;
use crate::random::{Use, stream};
use crate::tensor::sent;
use crate::{Error, Result};

/// Side of images that a network takes: the file of one may claim any.
const MOST_PX: u32 = 4096;

/// One operation of a [`Transform`]; random ones draw when an image's [`Plan`] is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// The short side to this many pixels, the long side in proportion (truncated).
    Resize {
        /// New length of the short side.
        short_px: u32,
    },
    /// The square in the middle.
    CenterCrop {
        /// Side of the square.
        side_px: u32,
    },
    /// A random part, resized to a square (Szegedy et al. 2015, doi:10.1109/CVPR.2015.7298594).
    RandomResizedCrop {
        /// Side of the square.
        side_px: u32,
        /// Bounds of the part's area as a fraction of the image's; uniform between them.
        area_frac: [f32; 2],
        /// Bounds of width over height; log-uniform between them.
        aspect: [f32; 2],
    },
    /// Mirrored left to right with this probability.
    RandomFlip {
        /// Probability in `[0,1]`.
        probability: f32,
    },
    /// One random change of colour or geometry (TrivialAugment, wide ranges).
    TrivialAugment {},
}

impl Operation {
    /// Whether every image always gets the same steps.
    fn is_deterministic(&self) -> bool {
        matches!(self, Self::Resize { .. } | Self::CenterCrop { .. })
    }
}

/// Operations in order, then `(value/255 - mean) / std` per channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Transform {
    /// What happens to the pixels before normalisation.
    pub operations: Vec<Operation>,
    /// Subtracted from the channels, in `[0,1]` units.
    pub mean: [f64; 3],
    /// Divides the channels.
    pub std: [f64; 3],
}

impl Transform {
    /// Resize the short side, crop the middle, normalise.
    ///
    /// # Errors
    /// Where a size is zero, `crop_px` exceeds `resize_px`, or `std` is not positive.
    pub fn evaluation(resize_px: u32, crop_px: u32, mean: [f64; 3], std: [f64; 3]) -> Result<Self> {
        if crop_px == 0 || crop_px > resize_px {
            return Err(Error::invalid(
                "crop_px",
                crop_px,
                format!("1 to resize_px, which is {resize_px}"),
            ));
        }
        let operations = vec![
            Operation::Resize { short_px: resize_px },
            Operation::CenterCrop { side_px: crop_px },
        ];
        Self { operations, mean, std }.checked()
    }

    /// The evaluation transform of a network.
    ///
    /// # Errors
    /// As [`Transform::evaluation`].
    pub fn matching(preprocessing: &Preprocessing) -> Result<Self> {
        let &Preprocessing { resize_px, crop_px, mean, std } = preprocessing;
        let pixels = |key: &str, value: i64| {
            let key = format!("preprocessing.{key}");
            match u32::try_from(value) {
                Ok(pixels) if pixels <= MOST_PX => Ok(pixels),
                _ => Err(Error::invalid(
                    key,
                    value,
                    format!("a number of pixels, at most {MOST_PX}"),
                )),
            }
        };
        Self::evaluation(pixels("resize_px", resize_px)?, pixels("crop_px", crop_px)?, mean, std)
    }

    /// Random resized crop (area 8 to 100 %, aspect 3/4 to 4/3) and flip, normalise: the usual
    /// augmentation of ImageNet training.
    ///
    /// # Errors
    /// Where `crop_px` is zero or `std` is not positive.
    pub fn augmented(crop_px: u32, mean: [f64; 3], std: [f64; 3]) -> Result<Self> {
        if crop_px == 0 {
            return Err(Error::invalid("crop_px", crop_px, "at least 1"));
        }
        let operations = vec![
            Operation::RandomResizedCrop {
                side_px: crop_px,
                area_frac: [0.08, 1.0],
                aspect: [3.0 / 4.0, 4.0 / 3.0],
            },
            Operation::RandomFlip { probability: 0.5 },
        ];
        Self { operations, mean, std }.checked()
    }

    fn checked(self) -> Result<Self> {
        if let Some(mean) = self.mean.iter().find(|mean| !(-10.0..=10.0).contains(*mean)) {
            return Err(Error::invalid("mean", mean, "-10 to 10, of values from 0 to 1"));
        }
        match self.std.iter().find(|std| !(1e-4..=1e4).contains(*std)) {
            Some(std) => Err(Error::invalid("std", std, "more than 0: 0.0001 to 10000")),
            None => Ok(self),
        }
    }

    /// Makes the random choices for an image of `width × height` pixels.
    pub fn plan(&self, width: u32, height: u32, rng: &mut impl Rng) -> Plan {
        let mut plan = Plan::new(width, height);
        self.extend(&mut plan, 0, rng);
        plan
    }

    /// The steps of the operations before the first random one, which are the same in every epoch.
    pub(super) fn fixed_plan(&self, width: u32, height: u32) -> Plan {
        let fixed =
            Self { operations: self.operations[..self.fixed_operations()].to_vec(), ..*self };
        fixed.plan(width, height, &mut stream(Use::Transform, 0, 0, 0))
    }

    /// How many operations come before the first random one.
    pub(super) fn fixed_operations(&self) -> usize {
        self.operations.iter().take_while(|operation| operation.is_deterministic()).count()
    }

    /// Appends the steps of the operations from number `first` on.
    pub(super) fn extend(&self, plan: &mut Plan, first: usize, rng: &mut impl Rng) {
        for operation in &self.operations[first..] {
            let (width, height) = plan.output_size();
            match *operation {
                Operation::Resize { short_px } => {
                    let (width, height) = resized(width, height, short_px);
                    plan.push(Step::Resize { width, height });
                }
                Operation::CenterCrop { side_px } => {
                    plan.push(Step::Crop {
                        x: centred(width, side_px),
                        y: centred(height, side_px),
                        width: side_px.min(width),
                        height: side_px.min(height),
                    });
                }
                Operation::RandomResizedCrop { side_px, area_frac, aspect } => {
                    plan.push(random_part(width, height, area_frac, aspect, rng));
                    plan.push(Step::Resize { width: side_px, height: side_px });
                }
                Operation::RandomFlip { probability } => {
                    if rng.random::<f32>() < probability {
                        plan.push(Step::Flip);
                    }
                }
                Operation::TrivialAugment {} => {
                    if let Some(step) = trivial_augment::draw(rng) {
                        plan.push(step);
                    }
                }
            }
        }
    }

    /// Whether every image always gets the same plan.
    pub fn is_deterministic(&self) -> bool {
        self.fixed_operations() == self.operations.len()
    }

    /// Writes the normalised pixels of `image` to `values` `[3,H,W]`.
    pub(crate) fn normalise_into(&self, image: &RgbImage, values: &mut [f32]) {
        let pixels = image.width() as usize * image.height() as usize;
        debug_assert_eq!(values.len(), 3 * pixels);
        for (channel, plane) in values.chunks_exact_mut(pixels).enumerate() {
            let (mean, std) = (self.mean[channel] as f32, self.std[channel] as f32);
            let table: [f32; 256] =
                std::array::from_fn(|value| (value as f32 / 255.0 - mean) / std);
            for (value, pixel) in plane.iter_mut().zip(image.as_raw().chunks_exact(3)) {
                *value = table[usize::from(pixel[channel])];
            }
        }
    }

    /// The same numbers, to the last bit, of `bytes` `[B,H,W,3]` on any device: `[B,3,H,W]`, f32.
    pub(crate) fn normalised(&self, bytes: &Tensor) -> Tensor {
        let device = bytes.device();
        // Tensors: by a number a GPU divides by multiplying with its reciprocal, which is rounded.
        let constant = |values: &[f32]| sent(&Tensor::from_slice(values), device);
        let [mean, std] = [self.mean, self.std].map(|of| constant(&of.map(|x| x as f32)));
        let shares = bytes.to_kind(Kind::Float) / constant(&[255.0]);
        ((shares - mean) / std).permute([0, 3, 1, 2])
    }

    /// Normalised `[3,H,W]`, f32 on the CPU, of an image that has been through its plan.
    pub fn normalise(&self, image: &RgbImage) -> Tensor {
        let mut values = vec![0.0; 3 * image.width() as usize * image.height() as usize];
        self.normalise_into(image, &mut values);
        Tensor::from_slice(&values).reshape([3, image.height().into(), image.width().into()])
    }
}

/// An image file as model input.
#[derive(Debug)]
pub struct LoadedImage {
    /// Upright, at its own size.
    pub original: RgbImage,
    /// Normalised `[3,H,W]`, f32 on the CPU.
    pub input: Tensor,
    /// How the one became the other; [`Plan::source_rect`] is what the model sees of the original.
    pub plan: Plan,
}

/// Reads an image file outside any dataset, upright, through a transform without random parts.
///
/// # Errors
/// Where the file cannot be read or is no image, and where the transform draws at random.
pub fn load_image(path: &std::path::Path, transform: &Transform) -> Result<LoadedImage> {
    if !transform.is_deterministic() {
        return Err(Error::invalid("transform", "random", "one without random operations"));
    }
    let original = decode::rgb(path, Orientation::Upright)?;
    let plan = transform.fixed_plan(original.width(), original.height());
    let resized =
        plan.image(&original).map_err(|error| Error::malformed(path, error.to_string()))?;
    let input = transform.normalise(&resized);
    Ok(LoadedImage { original, input, plan })
}

/// Size with the short side at `short_px`; the long side is truncated, as torchvision's.
fn resized(width: u32, height: u32, short_px: u32) -> (u32, u32) {
    let scaled = |long: u32, short: u32| {
        (u64::from(short_px) * u64::from(long) / u64::from(short.max(1))) as u32
    };
    if width <= height {
        (short_px, scaled(height, width))
    } else {
        (scaled(width, height), short_px)
    }
}

/// First pixel of the middle part; a half is rounded to even, as Python's `round` does.
fn centred(length: u32, part: u32) -> u32 {
    let twice = length.saturating_sub(part);
    let half = twice / 2;
    if twice % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
}

/// torchvision's sampling of a random part: ten tries of a uniform area and a log-uniform aspect,
/// then the largest middle part within the aspect bounds.
fn random_part(
    width: u32,
    height: u32,
    area_frac: [f32; 2],
    aspect: [f32; 2],
    rng: &mut impl Rng,
) -> Step {
    let area = f64::from(width) * f64::from(height);
    let [least_area, most_area] = area_frac.map(f64::from);
    let [least_aspect, most_aspect] = aspect.map(f64::from);
    for _ in 0..10 {
        let target = area * rng.random_range(least_area..=most_area);
        let aspect = rng.random_range(least_aspect.ln()..=most_aspect.ln()).exp();
        let w = (target * aspect).sqrt().round_ties_even() as u32;
        let h = (target / aspect).sqrt().round_ties_even() as u32;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let x = rng.random_range(0..=width - w);
            let y = rng.random_range(0..=height - h);
            return Step::Crop { x, y, width: w, height: h };
        }
    }
    let own = f64::from(width) / f64::from(height);
    let (w, h) = if own < least_aspect {
        (width, (f64::from(width) / least_aspect).round_ties_even() as u32)
    } else if own > most_aspect {
        ((f64::from(height) * most_aspect).round_ties_even() as u32, height)
    } else {
        (width, height)
    };
    let (w, h) = (w.clamp(1, width), h.clamp(1, height));
    Step::Crop { x: (width - w) / 2, y: (height - h) / 2, width: w, height: h }
}
