//! What every method asks of its images.

use sib_core::{Error, Result};
use tch::Tensor;

/// The number of images, where they are floating-point `[B,C,H,W]` with nothing empty.
pub(crate) fn checked_count(images: &Tensor) -> Result<i64> {
    match images.size()[..] {
        [count, c, h, w] if images.is_floating_point() && count * c * h * w > 0 => Ok(count),
        _ => Err(Error::shape("images", images, "floating-point images [B,3,H,W], none empty")),
    }
}
