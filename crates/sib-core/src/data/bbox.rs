//! Axis-aligned boxes in pixel coordinates.

use tch::Tensor;

use crate::Result;

/// A box `[x0, x1) × [y0, y1)` in pixels; the image covers `[0, width) × [0, height)`, so the
/// centre of its first pixel is (0.5, 0.5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BBox {
    /// Left edge.
    pub x0: f32,
    /// Top edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Bottom edge.
    pub y1: f32,
}

impl BBox {
    /// The box with these edges.
    pub fn new(x0: f32, y0: f32, x1: f32, y1: f32) -> Self {
        Self { x0, y0, x1, y1 }
    }

    /// The edges of the box around the foreground of `mask` `[H,W]`; none where there is no foreground.
    /// As corners they are x, y, x + width and y + height, so that a border and a mask of the same pixels
    /// have the same box in MaxBoxAcc (decision L4).
    ///
    /// # Errors
    /// When the mask has other dimensions.
    pub fn around(mask: &Tensor) -> Result<Option<Self>> {
        // First and last place along an axis where any pixel across it is foreground.
        let extent = |across: i64| -> Result<Option<(f32, f32)>> {
            let any: Vec<bool> = mask.f_any_dim(across, false)?.try_into()?;
            let first = any.iter().position(|&inside| inside);
            let last = any.iter().rposition(|&inside| inside);
            Ok(first.zip(last).map(|(first, last)| (first as f32, (last + 1) as f32)))
        };
        let box_of = |((x0, x1), (y0, y1))| Self::new(x0, y0, x1, y1);
        Ok(extent(0)?.zip(extent(1)?).map(box_of))
    }

    /// The box itself, where it is finite and not empty.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn checked(self) -> std::result::Result<Self, String> {
        let Self { x0, y0, x1, y1 } = self;
        if self.is_empty() || ![x0, y0, x1, y1].into_iter().all(f32::is_finite) {
            return Err(format!("empty box ({x0}, {y0}, {x1}, {y1})"));
        }
        Ok(self)
    }

    /// Area in square pixels; 0 for an empty box.
    pub fn area(&self) -> f32 {
        (self.x1 - self.x0).max(0.0) * (self.y1 - self.y0).max(0.0)
    }

    /// Whether nothing is inside.
    pub fn is_empty(&self) -> bool {
        !(self.x1 > self.x0 && self.y1 > self.y0)
    }

    /// The part of the box inside an image of `width × height` pixels; `None` where that is empty.
    pub fn clipped(&self, width: u32, height: u32) -> Option<Self> {
        let (width, height) = (width as f32, height as f32);
        let clipped = Self {
            x0: self.x0.clamp(0.0, width),
            y0: self.y0.clamp(0.0, height),
            x1: self.x1.clamp(0.0, width),
            y1: self.y1.clamp(0.0, height),
        };
        (!clipped.is_empty()).then_some(clipped)
    }

    /// The box after the image is stretched by `sx`, `sy`.
    #[must_use]
    pub fn scaled(&self, sx: f32, sy: f32) -> Self {
        Self { x0: self.x0 * sx, y0: self.y0 * sy, x1: self.x1 * sx, y1: self.y1 * sy }
    }

    /// The box after the origin moves by (`-dx`, `-dy`): `dx`, `dy` are added to the coordinates.
    #[must_use]
    pub fn shifted(&self, dx: f32, dy: f32) -> Self {
        Self { x0: self.x0 + dx, y0: self.y0 + dy, x1: self.x1 + dx, y1: self.y1 + dy }
    }

    /// The box after an image of `width` pixels is mirrored left to right.
    #[must_use]
    pub fn flipped(&self, width: f32) -> Self {
        Self { x0: width - self.x1, y0: self.y0, x1: width - self.x0, y1: self.y1 }
    }

    /// Intersection over union with `other`, in `[0,1]`.
    pub fn iou(&self, other: &Self) -> f32 {
        let shared = Self {
            x0: self.x0.max(other.x0),
            y0: self.y0.max(other.y0),
            x1: self.x1.min(other.x1),
            y1: self.y1.min(other.y1),
        }
        .area();
        let union = self.area() + other.area() - shared;
        if union > 0.0 { shared / union } else { 0.0 }
    }

    /// Sets the pixels of a row-major mask `width` wide whose centres are inside.
    pub fn fill(&self, mask: &mut [bool], width: usize) {
        if width == 0 || self.is_empty() {
            return;
        }
        let height = mask.len() / width;
        // A pixel centre i + 0.5 is inside [a, b) where ceil(a - 0.5) <= i < ceil(b - 0.5).
        let pixel = |edge: f32, end: usize| (edge - 0.5).ceil().clamp(0.0, end as f32) as usize;
        let (left, right) = (pixel(self.x0, width), pixel(self.x1, width));
        for row in pixel(self.y0, height)..pixel(self.y1, height) {
            mask[row * width + left..row * width + right.max(left)].fill(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn the_box_around_a_mask_includes_its_last_pixels() {
        let mask = Tensor::zeros([6, 8], (Kind::Bool, Device::Cpu));
        assert_eq!(BBox::around(&mask).unwrap(), None);
        for (row, column) in [(1, 5), (3, 2)] {
            let _ = mask.narrow(0, row, 1).narrow(1, column, 1).fill_(1);
        }
        assert_eq!(BBox::around(&mask).unwrap(), Some(BBox::new(2.0, 1.0, 6.0, 4.0)));
    }
}
