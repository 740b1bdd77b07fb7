//! What of a batch the two terms are computed on (decision F6).

use tch::Tensor;

use super::SibConfig;
use crate::group::Group;
use crate::tensor::for_convolutions;
use crate::{Error, Result};

impl SibConfig {
    /// Side in pixels that an image's side of `px` has in the terms.
    pub fn scaled_px(&self, px: i64) -> i64 {
        (px as f64 * self.scale).round() as i64
    }

    /// Checks that [`Self::images`] can be had of batches of `batch` images in `parts` equal parts.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn check_batch(&self, batch: u64, parts: u64) -> Result<()> {
        let images = self.images.unwrap_or(batch);
        let refuse = |expected: String| Err(Error::invalid("images", images, expected));
        if images == 0 || !batch.is_multiple_of(images) {
            return refuse(format!("a divisor of the {batch} images of a batch"));
        }
        if !images.is_multiple_of(parts) {
            return refuse(format!("a multiple of the {parts} processes"));
        }
        let least = self.hsic.estimator.min_batch() as u64;
        if images < least {
            let key = if self.images.is_some() { "images" } else { "batch size" };
            let expected =
                format!("at least {least}: the foreground term compares the images of a batch");
            return Err(Error::invalid(key, images, expected));
        }
        Ok(())
    }

    /// The images `[k,3,h,w]` that the terms are computed on, of `images` `[B,3,H,W]`, this member's part of the batch
    /// of `group`; `None` where they are these themselves.
    ///
    /// They are every (B/k)-th, so that a group takes those that one process does, and are resized as Pillow does it:
    /// bilinear, each pixel a mean over all that it stands for.
    pub(super) fn sample(&self, images: &Tensor, group: &Group) -> Result<Option<Tensor>> {
        let &[part, 3, height, width] = &images.size()[..] else {
            return Err(Error::shape("images", images, "[B,3,H,W]"));
        };
        let (part, members) = (part as u64, group.size() as u64);
        self.check_batch(part * members, members)?;
        let every = part * members / self.images.unwrap_or(part * members);
        let side = [height, width].map(|px| self.scaled_px(px));
        if every == 1 && side == [height, width] {
            return Ok(None);
        }
        let mut sample = images.slice(0, None, None, every as i64);
        if side != [height, width] {
            sample = sample.internal_upsample_bilinear2d_aa(side, false, None, None);
        }
        Ok(Some(for_convolutions(&sample)))
    }
}
