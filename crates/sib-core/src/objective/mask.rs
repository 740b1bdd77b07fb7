//! The differentiable mask head M = g(R) that splits an image into foreground and background
//! (section 3.3 of the paper; constants: decision C1).

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::quantile::{linear_quantile, soft_quantiles};
use crate::data::GroundTruth;
use crate::{Error, Result, tensor::rows};

/// Who says what is foreground (decision C4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskOrigin {
    /// The network, by R: M = g(R), as in the paper.
    #[default]
    Network,
    /// The dataset's masks or boxes: M is constant.
    Annotation,
}

impl fmt::Display for MaskOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Annotation => "annotation",
        })
    }
}

/// Whose R the network's mask is made of (decision C6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskAt {
    /// That of the terms, wherever it is taken.
    #[default]
    Terms,
    /// That of the image, constant: of each cell of a feature map the mean of its pixels.
    Image,
}

/// How strong R is at a place, over its channels (decision C5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// The magnitude of their mean, as the authors have it: channels that disagree cancel out.
    #[default]
    Mean,
    /// The mean of their magnitudes.
    Magnitudes,
}

/// Which function g maps R to the mask (decision C2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskKind {
    /// Soft quantiles and sigmoids: the training mask.
    #[default]
    Soft,
    /// The same with steps in place of the sigmoids; no gradient, for evaluation only.
    Hard,
    /// `sigmoid(slope·(s − mean s))` with `s = |R| / max |R|` per image.
    MaxNorm,
}

/// Settings of the mask head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskConfig {
    /// Who says what is foreground in training. All but [`Self::annotation`] is about the network's mask.
    pub source: MaskOrigin,
    /// Whose R the network's mask is made of.
    pub at: MaskAt,
    /// Whether each image has the mask of another one, constant: the control that asks whether it matters which places
    /// a mask holds.
    pub shuffled: bool,
    /// Which annotation the mask is, where it is one.
    pub annotation: GroundTruth,
    /// Which function of R the mask is.
    pub kind: MaskKind,
    /// How strong R is at a place.
    pub channels: Channels,
    /// Temperature T of the soft quantile, in ranks; above 0.
    pub temperature: f64,
    /// Slope of the sigmoids; above 0.
    pub slope: f64,
    /// Side of the density window in pixels, odd. Unset: the nearest odd integer to 31·H/224, at
    /// least 3.
    pub window_px: Option<i64>,
    /// Share of the pixels below the foreground cut, in `(0, 1)`: 0.8 makes the top 20 % foreground.
    pub quantile: f64,
    /// Hold the mask constant when the losses are differentiated.
    pub detach: bool,
}

impl Default for MaskConfig {
    fn default() -> Self {
        Self {
            source: MaskOrigin::Network,
            at: MaskAt::Terms,
            shuffled: false,
            annotation: GroundTruth::Auto,
            kind: MaskKind::Soft,
            channels: Channels::Mean,
            temperature: 0.1,
            slope: 10.0,
            window_px: None,
            quantile: 0.8,
            detach: false,
        }
    }
}

/// What the mask head makes of a batch of R.
#[derive(Debug)]
pub struct Mask {
    /// Density map d `[B,1,H,W]` in `[0, 1]`: the local share of pixels with strong R.
    pub density: Tensor,
    /// M `[B,1,H,W]` in `(0, 1)`; above 0.5 on the foreground.
    pub mask: Tensor,
}

/// The robust range that R's magnitude is scaled by: its 5 % and 95 % quantiles.
const RANGE: (f64, f64) = (0.05, 0.95);

impl MaskConfig {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(&self) -> Result<()> {
        let refuse =
            |key: &str, value: f64, expected: &str| Err(Error::invalid(key, value, expected));
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return refuse("temperature", self.temperature, "a number above 0");
        }
        if !(self.slope > 0.0 && self.slope.is_finite()) {
            return refuse("slope", self.slope, "a number above 0");
        }
        if !(self.quantile > 0.0 && self.quantile < 1.0) {
            return refuse("quantile", self.quantile, "a number between 0 and 1");
        }
        match self.window_px {
            Some(px) if px < 3 || px % 2 == 0 => {
                refuse("window_px", px as f64, "an odd number of at least 3")
            }
            _ => Ok(()),
        }
    }

    /// What images have to come with for this mask.
    pub fn annotation(&self) -> Option<GroundTruth> {
        (self.source == MaskOrigin::Annotation).then_some(self.annotation)
    }

    /// Whether the mask takes R of the images where the terms do not.
    pub(super) fn is_of_images(&self) -> bool {
        self.source == MaskOrigin::Network && self.at == MaskAt::Image
    }

    /// Side of the density window in pixels at image height `height_px`.
    pub fn window(&self, height_px: i64) -> i64 {
        self.window_px.unwrap_or_else(|| {
            let scaled = 31.0 * height_px as f64 / 224.0;
            (2 * ((scaled - 1.0) / 2.0).round() as i64 + 1).max(3)
        })
    }

    /// Density and mask g(R) of R `[B,C,H,W]`, each image by itself.
    ///
    /// # Errors
    /// [`Error::Shape`] when R is not four-dimensional.
    pub fn apply(&self, r: &Tensor) -> Result<Mask> {
        let &[b, _, h, w] = &r.size()[..] else {
            return Err(Error::shape("R", r, "[B,C,H,W]"));
        };
        let r = if self.detach { r.detach() } else { r.shallow_clone() };
        let g = rows(&match self.channels {
            Channels::Mean => r.mean_dim([1i64].as_slice(), true, None::<Kind>).abs(),
            Channels::Magnitudes => r.abs().mean_dim([1i64].as_slice(), true, None::<Kind>),
        }); // [B,HW]
        let shape = [b, 1, h, w];
        let Mask { density, mask } = match self.kind {
            MaskKind::Soft => self.soft(&g, shape),
            MaskKind::Hard => self.hard(&g, shape),
            MaskKind::MaxNorm => {
                let max = g.amax([-1i64].as_slice(), true);
                let s = &g / max.clamp_min(f64::from(f32::MIN_POSITIVE));
                let mean = s.mean_dim([-1i64].as_slice(), true, None::<Kind>);
                Mask { mask: ((&s - mean) * self.slope).sigmoid(), density: s }
            }
        };
        Ok(Mask { density: density.view(shape), mask: mask.view(shape) })
    }

    /// Magnitude → strong pixels → density → mask, all differentiable. `g` is `[B,HW]`, and so are
    /// the results.
    fn soft(&self, g: &Tensor, shape: [i64; 4]) -> Mask {
        // A soft quantile is a weighted mean of order statistics, so it commutes with the
        // increasing affine map to the robust range: one search gives all three quantiles.
        let [low, high, strong] =
            soft_quantiles(g, [RANGE.0, RANGE.1, self.quantile], self.temperature);
        let range = high - low + 1e-8;
        let strong = ((g - strong) / range * self.slope).sigmoid();
        let density = self.density(&strong, shape);
        let [cut] = soft_quantiles(&density, [self.quantile], self.temperature);
        Mask { mask: ((&density - cut) * self.slope).sigmoid(), density }
    }

    /// The same with steps: strong pixels lie above the quantile of the magnitude, the foreground
    /// at or above that of the density, which has few values and therefore ties.
    fn hard(&self, g: &Tensor, shape: [i64; 4]) -> Mask {
        let strong = g.gt_tensor(&linear_quantile(g, self.quantile)).to_kind(g.kind());
        let density = self.density(&strong, shape);
        let cut = linear_quantile(&density, self.quantile);
        Mask { mask: density.ge_tensor(&cut).to_kind(g.kind()), density }
    }

    /// Share of strong pixels in the window around each pixel, zeros beyond the border: `[B,HW]`.
    fn density(&self, strong: &Tensor, shape: [i64; 4]) -> Tensor {
        let window = self.window(shape[2]);
        // Divided at the end, so that equal counts of a hard mask stay equal.
        let sums = window_sums(&window_sums(&strong.view(shape), -1, window), -2, window);
        sums.flatten(1, -1) / (window * window) as f64
    }
}

/// Sums of `x` along dimension `dim`, one of the last two, in a window of `window` (odd) around each
/// place: a difference of cumulative sums, whatever the window's length.
fn window_sums(x: &Tensor, dim: i64, window: i64) -> Tensor {
    let (before, after) = (window / 2 + 1, window / 2);
    let padding = if dim == -1 { vec![before, after] } else { vec![0, 0, before, after] };
    let cumulative = x.constant_pad_nd(padding).cumsum(dim, None::<Kind>);
    let size = x.size()[(x.dim() as i64 + dim) as usize];
    cumulative.narrow(dim, window, size) - cumulative.narrow(dim, 0, size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{formula_tensor, relative_difference};

    #[test]
    fn the_window_scales_with_the_image() {
        let window = |h| MaskConfig::default().window(h);
        assert_eq!([224, 128, 96, 64, 32, 8].map(window), [31, 17, 13, 9, 5, 3]);
    }

    #[test]
    fn window_sums_are_those_of_pooling() {
        // Integers: both are exact.
        let x = (formula_tensor("x", &[2, 1, 12, 9]) * 100.0).round();
        for window in [3, 7, 31] {
            let half = window / 2;
            let pooled = |kernel, padding| x.avg_pool2d(kernel, [1, 1], padding, false, true, 1);
            assert_eq!(window_sums(&x, -1, window), pooled([1, window], [0, half]));
            assert_eq!(window_sums(&x, -2, window), pooled([window, 1], [half, 0]));
        }
    }

    #[test]
    fn the_foreground_is_the_top_fifth_of_the_density() {
        // Not so the hard mask: its density has few values, and ties at the cut count in.
        let r = formula_tensor("r", &[4, 3, 64, 64]);
        let mask = MaskConfig::default().apply(&r).unwrap().mask;
        let foreground = mask.gt(0.5).to_kind(Kind::Double);
        let shares = foreground.mean_dim([1i64, 2, 3].as_slice(), false, None::<Kind>);
        for image in 0..4 {
            let share = shares.double_value(&[image]);
            assert!((share - 0.2).abs() < 0.01, "{share}");
        }
    }

    #[test]
    fn channels_that_disagree_count_by_their_magnitudes() {
        // One place where they cancel out, among places where they are small and agree.
        let r = Tensor::ones([1, 3, 16, 16], (Kind::Double, tch::Device::Cpu)) * 1e-3;
        for (channel, value) in [(0, 2.0), (1, -2.0), (2, 0.0)] {
            let _ = r.get(0).get(channel).get(4).get(11).fill_(value);
        }
        let density = |channels| {
            let config = MaskConfig { channels, kind: MaskKind::MaxNorm, ..MaskConfig::default() };
            config.apply(&r).unwrap().density.double_value(&[0, 0, 4, 11])
        };
        assert_eq!((density(Channels::Mean), density(Channels::Magnitudes)), (0.0, 1.0));
    }

    #[test]
    fn a_detached_mask_passes_no_gradient() {
        let r = formula_tensor("r", &[1, 3, 16, 16]).set_requires_grad(true);
        let config = MaskConfig { detach: true, ..MaskConfig::default() };
        assert!(!config.apply(&r).unwrap().mask.requires_grad());
        assert!(MaskConfig::default().apply(&r).unwrap().mask.requires_grad());
    }

    proptest! {
        #[test]
        fn scaling_r_leaves_the_mask_where_it_is(scale in 0.1f64..1e3) {
            // The robust range makes the mask scale-free but for its guard of 1e-8.
            let r = formula_tensor("r", &[2, 3, 24, 24]);
            let mask = |r: &Tensor| MaskConfig::default().apply(r).unwrap().mask;
            prop_assert!(relative_difference(&mask(&(&r * scale)), &mask(&r)) < 1e-4);
        }
    }
}
