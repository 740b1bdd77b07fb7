//! A heatmap as plain values, and what is done to it before it gets colours.

use sib_core::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Values of one image, row by row, all finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Heatmap {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Heatmap {
    /// From `[H,W]` on any device.
    ///
    /// # Errors
    /// [`Error::Shape`] for another shape or an empty map, [`Error::NonFinite`] for infinities and
    /// NaN.
    pub fn new(map: &Tensor) -> Result<Self> {
        let &[height, width] = &map.size()[..] else {
            return Err(Error::shape("heatmap", map, "[H,W]"));
        };
        if height * width == 0 {
            return Err(Error::shape("heatmap", map, "[H,W], not empty"));
        }
        let map = map.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
        let values = Vec::<f32>::try_from(&map.flatten(0, 1))?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::NonFinite { what: "a value of the heatmap".to_owned() });
        }
        Ok(Self { width: width as usize, height: height as usize, values })
    }

    /// Columns and rows.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Smallest and largest value.
    pub fn range(&self) -> (f32, f32) {
        self.values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| {
            (low.min(value), high.max(value))
        })
    }

    /// Whether all values are equal: such a map says nothing.
    pub fn is_flat(&self) -> bool {
        let (low, high) = self.range();
        low == high
    }

    /// Scaled to `[0,1]`; all 0 where the map is flat.
    ///
    /// The lowest value becomes 0, and the value that `outlier_pct` per cent of the pixels exceed
    /// becomes 1, as does what exceeds it: a few pixels of a gradient would otherwise leave the rest
    /// dark. 0 is min–max scaling.
    pub fn normalised(&self, outlier_pct: f32) -> Self {
        let (low, high) = self.range();
        let cut = percentile(self.values.clone(), 100.0 - outlier_pct);
        let high = if cut > low { cut } else { high };
        self.map(|value| ((value - low) / (high - low)).clamp(0.0, 1.0), low == high)
    }

    /// Scaled to `[-1,1]` with 0 in place; all 0 where the map is 0. `outlier_pct` per cent of the
    /// pixels have a magnitude of 1.
    pub fn normalised_signed(&self, outlier_pct: f32) -> Self {
        let magnitudes: Vec<f32> = self.values.iter().map(|value| value.abs()).collect();
        let largest = magnitudes.iter().copied().fold(0.0, f32::max);
        let cut = percentile(magnitudes, 100.0 - outlier_pct);
        let scale = if cut > 0.0 { cut } else { largest };
        self.map(|value| (value / scale).clamp(-1.0, 1.0), largest == 0.0)
    }

    /// Scaled to `[-1,1]` with 0 in place and ±1 at `magnitude` and beyond.
    pub(super) fn scaled_within(&self, magnitude: f32) -> Self {
        self.map(|value| (value / magnitude).clamp(-1.0, 1.0), magnitude <= 0.0)
    }

    /// `self − baseline`, each min–max scaled first: in `[-1,1]`, positive where `self` sees more.
    ///
    /// # Errors
    /// [`Error::Invalid`] for maps of different sizes.
    pub fn difference(&self, baseline: &Self) -> Result<Self> {
        if self.size() != baseline.size() {
            let ((w, h), (bw, bh)) = (self.size(), baseline.size());
            let expected = format!("the size of the other heatmap, {w}x{h}");
            return Err(Error::invalid("heatmap", format!("{bw}x{bh}"), expected));
        }
        let (ours, theirs) = (self.normalised(0.0), baseline.normalised(0.0));
        let values = ours.values.iter().zip(&theirs.values).map(|(a, b)| a - b).collect();
        Ok(Self { values, ..*self })
    }

    fn map(&self, scale: impl Fn(f32) -> f32, is_zero: bool) -> Self {
        let values = if is_zero {
            vec![0.0; self.values.len()]
        } else {
            self.values.iter().map(|&value| scale(value)).collect()
        };
        Self { values, ..*self }
    }

    /// Bilinear value at (`x`, `y`) in pixels, pixel centres at half integers, clamped at the border.
    pub(super) fn sample(&self, x: f32, y: f32) -> f32 {
        let axis = |position: f32, length: usize| {
            let position = (position - 0.5).clamp(0.0, (length - 1) as f32);
            let first = position as usize;
            (first, (first + 1).min(length - 1), position - first as f32)
        };
        let (x0, x1, fx) = axis(x, self.width);
        let (y0, y1, fy) = axis(y, self.height);
        let at = |x: usize, y: usize| self.values[y * self.width + x];
        let top = at(x0, y0) * (1.0 - fx) + at(x1, y0) * fx;
        let bottom = at(x0, y1) * (1.0 - fx) + at(x1, y1) * fx;
        top * (1.0 - fy) + bottom * fy
    }
}

/// The value at `percent` of the sorted values.
pub(super) fn percentile(mut values: Vec<f32>, percent: f32) -> f32 {
    let rank = (percent.clamp(0.0, 100.0) / 100.0 * (values.len() - 1) as f32).round() as usize;
    *values.select_nth_unstable_by(rank, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heatmap(rows: &[[f32; 3]]) -> Heatmap {
        Heatmap::new(&Tensor::from_slice2(rows)).unwrap()
    }

    #[test]
    fn scaling_puts_the_lowest_at_0_and_clips_outliers() {
        let map = heatmap(&[[2.0, 4.0, 6.0], [2.0, 4.0, 100.0]]);
        assert_eq!(map.normalised(0.0).values()[5], 1.0);
        // 20 per cent of six values: the largest one.
        assert_eq!(map.normalised(20.0).values(), [0.0, 0.5, 1.0, 0.0, 0.5, 1.0]);
        // A map that is 0 but for one pixel is not clipped away.
        let spike = heatmap(&[[0.0, 0.0, 0.0], [0.0, 3.0, 0.0]]);
        assert_eq!(spike.normalised(20.0).values(), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(spike.normalised_signed(20.0), spike.normalised(20.0));
    }

    #[test]
    fn a_flat_map_is_zero_and_never_nan() {
        for value in [0.0, -3.0, 1e30] {
            let flat = heatmap(&[[value; 3]]);
            assert!(flat.is_flat());
            assert_eq!(flat.normalised(1.0).values(), [0.0; 3]);
            assert!(flat.difference(&flat).unwrap().values().iter().all(|&d| d == 0.0));
        }
        assert_eq!(heatmap(&[[0.0; 3]]).normalised_signed(1.0).values(), [0.0; 3]);
    }

    #[test]
    fn differences_are_of_scaled_maps() {
        let ours = heatmap(&[[0.0, 5.0, 10.0]]);
        let baseline = heatmap(&[[3.0, 1.0, 2.0]]);
        assert_eq!(ours.difference(&baseline).unwrap().values(), [-1.0, 0.5, 0.5]);
    }

    #[test]
    fn samples_are_bilinear_between_pixel_centres() {
        let map = heatmap(&[[0.0, 4.0, 8.0], [8.0, 12.0, 16.0]]);
        for (x, y, value) in
            [(0.5, 0.5, 0.0), (1.0, 0.5, 2.0), (2.5, 1.0, 12.0), (0.0, 0.0, 0.0), (9.0, 9.0, 16.0)]
        {
            assert_eq!(map.sample(x, y), value, "({x}, {y})");
        }
    }

    #[test]
    fn what_is_no_heatmap_is_refused() {
        let options = (Kind::Float, Device::Cpu);
        assert!(Heatmap::new(&Tensor::zeros([2, 3, 4], options)).is_err());
        assert!(Heatmap::new(&Tensor::zeros([0, 3], options)).is_err());
        let error = Heatmap::new(&Tensor::full([2, 2], f64::NAN, options)).unwrap_err();
        assert_eq!(error.to_string(), "a value of the heatmap is not finite");
        let (a, b) = (heatmap(&[[1.0; 3]]), heatmap(&[[1.0; 3], [2.0; 3]]));
        assert!(a.difference(&b).is_err());
    }
}
