//! Where the kernels of a convolution lie.

/// How the kernels of a convolution lie on the image, alike in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Pixels from one place of a kernel to the next.
    pub stride: i64,
    /// Pixels of zeros on each side.
    pub padding: i64,
    /// Parts that the channels are divided into, each convolved by itself.
    pub groups: i64,
}
