//! Rotation, shear and translation of an image.

use image::{ImageBuffer, Pixel};

use super::bbox::BBox;

/// A linear map of the offsets from a fixed point, then a shift; it says where a pixel of the
/// *result* is taken from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Rows of the matrix.
    matrix: [[f32; 2]; 2],
    /// Added, in pixels.
    shift: [f32; 2],
    /// The fixed point as a fraction of width and height: 1/2 is the middle, 0 the first corner.
    origin_frac: f32,
}

impl Affine {
    /// Everything moves right by `x` pixels and down by `y`.
    pub fn translation(x: f32, y: f32) -> Self {
        Self { matrix: [[1.0, 0.0], [0.0, 1.0]], shift: [-x, -y], origin_frac: 0.5 }
    }

    /// Turned counter-clockwise, as the image is seen.
    pub fn rotation(degrees: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Self { matrix: [[cos, -sin], [sin, cos]], shift: [0.0; 2], origin_frac: 0.5 }
    }

    /// A pixel in row `y` is taken from `by_row·y` further right, one in column `x` from
    /// `by_column·x` further down; the first corner stays.
    ///
    /// `by_row·by_column` must not be 1, which has no inverse.
    pub fn shear(by_row: f32, by_column: f32) -> Self {
        Self { matrix: [[1.0, by_row], [by_column, 1.0]], shift: [0.0; 2], origin_frac: 0.0 }
    }

    /// The image after the map, by nearest neighbour; zeros come in from outside.
    pub(super) fn image<P: Pixel<Subpixel = u8>>(
        &self,
        image: &ImageBuffer<P, Vec<u8>>,
    ) -> ImageBuffer<P, Vec<u8>> {
        let (width, height) = image.dimensions();
        let mut mapped = ImageBuffer::new(width, height);
        for (x, y, pixel) in mapped.enumerate_pixels_mut() {
            let [sx, sy] = self.source([x as f32 + 0.5, y as f32 + 0.5], width, height);
            let (sx, sy) = (sx.floor(), sy.floor());
            if sx >= 0.0
                && sy >= 0.0
                && let Some(source) = image.get_pixel_checked(sx as u32, sy as u32)
            {
                *pixel = *source;
            }
        }
        mapped
    }

    /// Where a point of the result comes from.
    fn source(&self, [x, y]: [f32; 2], width: u32, height: u32) -> [f32; 2] {
        let origin = [width, height].map(|length| length as f32 * self.origin_frac);
        let (dx, dy) = (x - origin[0], y - origin[1]);
        [0, 1].map(|i| self.matrix[i][0] * dx + self.matrix[i][1] * dy + self.shift[i] + origin[i])
    }

    /// The map from the source to the result.
    fn inverse(&self) -> Self {
        let [[a, b], [c, d]] = self.matrix;
        let determinant = a * d - b * c;
        let matrix = [[d / determinant, -b / determinant], [-c / determinant, a / determinant]];
        let [x, y] = self.shift;
        let shift = matrix.map(|row| -(row[0] * x + row[1] * y));
        Self { matrix, shift, ..*self }
    }

    /// The box around where the corners of `bbox` go.
    pub(super) fn bbox(&self, bbox: &BBox, width: u32, height: u32) -> BBox {
        self.inverse().source_bbox(bbox, width, height)
    }

    /// The box around where the corners of `bbox` come from.
    pub(super) fn source_bbox(&self, bbox: &BBox, width: u32, height: u32) -> BBox {
        let corners =
            [[bbox.x0, bbox.y0], [bbox.x1, bbox.y0], [bbox.x0, bbox.y1], [bbox.x1, bbox.y1]]
                .map(|corner| self.source(corner, width, height));
        let least = |i: usize| corners.iter().map(|c| c[i]).fold(f32::INFINITY, f32::min);
        let most = |i: usize| corners.iter().map(|c| c[i]).fold(f32::NEG_INFINITY, f32::max);
        BBox::new(least(0), least(1), most(0), most(1))
    }
}
