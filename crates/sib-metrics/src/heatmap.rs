//! Heatmaps on the CPU: the metrics of localization are scalar loops over pixels, so a batch is
//! brought over once and its images are shared out to threads.

use sib_core::{Error, Result};
use tch::{Device, Kind, Tensor};

use crate::outcome::{Exclusion, Outcome};

/// `H·W` of `heatmaps` `[B,H,W]`, where neither is zero.
pub(crate) fn pixels_per_image(what: &'static str, heatmaps: &Tensor) -> Result<usize> {
    match heatmaps.size()[..] {
        [_, height, width] if height > 0 && width > 0 => Ok((height * width) as usize),
        _ => Err(Error::shape(what, heatmaps, "[B,H,W]")),
    }
}

/// All elements in row-major order.
pub(crate) fn to_f32(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
    Ok(flat.f_reshape([-1])?.f_contiguous()?.try_into()?)
}

/// All elements in row-major order, true where not zero.
pub(crate) fn to_bool(tensor: &Tensor) -> Result<Vec<bool>> {
    let flat = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Bool)?;
    Ok(flat.f_reshape([-1])?.f_contiguous()?.try_into()?)
}

/// The finite pixels of one heatmap and their range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heatmap<'a> {
    pub(crate) values: &'a [f32],
    min: f32,
    max: f32,
}

impl<'a> Heatmap<'a> {
    pub(crate) fn new(values: &'a [f32]) -> Outcome<Self> {
        let (mut min, mut max, mut finite) = (f32::INFINITY, f32::NEG_INFINITY, true);
        for &value in values {
            min = min.min(value);
            max = max.max(value);
            finite &= value.is_finite();
        }
        if finite { Ok(Self { values, min, max }) } else { Err(Exclusion::NonFiniteHeatmap) }
    }

    pub(crate) fn is_flat(&self) -> bool {
        self.min == self.max
    }

    /// The pixels scaled to [0, 1] by their own range; a flat map is all zeros.
    pub(crate) fn normalised(&self) -> impl ExactSizeIterator<Item = f64> + use<'a> {
        let min = f64::from(self.min);
        let range = f64::from(self.max) - min;
        let range = if range > 0.0 { range } else { 1.0 };
        self.values.iter().map(move |&value| (f64::from(value) - min) / range)
    }

    /// The pixels scaled to [0, 1] by their own range, cut to 256 levels in f32, as
    /// `(scoremap * 255).astype(np.uint8)` does; a flat map is all zeros.
    pub(crate) fn grey_levels(&self) -> Vec<u8> {
        let range = self.max - self.min;
        if range.is_infinite() {
            return self.normalised().map(|value| (value * 255.0) as u8).collect();
        }
        let range = if range > 0.0 { range } else { 1.0 };
        self.values.iter().map(|&value| ((value - self.min) / range * 255.0) as u8).collect()
    }
}
