//! What of a batch the two terms are computed on (decision F6).

use tch::Tensor;

use super::SibConfig;
use crate::group::Group;
use crate::tensor::for_convolutions;
use crate::{Error, Result};

/// A batch as the objective sees it.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `[B,3,H,W]`, normalised.
    pub images: &'a Tensor,
    /// Where their objects are: `[B,H,W]`, bool. Only [`MaskOrigin::Annotation`](super::MaskOrigin::Annotation) looks at it.
    pub foreground: Option<&'a Tensor>,
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(images: &'a Tensor) -> Self {
        Self { images, foreground: None }
    }
}

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
        if self.mask.shuffled && images < 2 * parts {
            let expected = "false: a process has the terms of one image alone";
            return Err(Error::invalid("mask.shuffled", true, expected));
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
        let members = group.size() as u64;
        self.check_batch(part as u64 * members, members)?;
        let every = self.every_nth(part, group);
        let side = [height, width].map(|px| self.scaled_px(px));
        if every == 1 && side == [height, width] {
            return Ok(None);
        }
        let mut sample = images.slice(0, None, None, every);
        if side != [height, width] {
            sample = sample.internal_upsample_bilinear2d_aa(side, false, None, None);
        }
        Ok(Some(for_convolutions(&sample)))
    }

    /// The mask `[k,1,h,w]` of the annotation of the images that the terms are computed on, like `r` `[k,C,h,w]`: of
    /// each cell the share that lies in the foreground.
    pub(super) fn annotated(&self, input: Input<'_>, r: &Tensor, group: &Group) -> Result<Tensor> {
        let Some(foreground) = input.foreground else {
            let expected = "network: nothing is known of where the objects of these images are";
            return Err(Error::invalid("mask.source", "annotation", expected));
        };
        let &[part, _, height, width] = &input.images.size()[..] else {
            return Err(Error::shape("images", input.images, "[B,3,H,W]"));
        };
        if foreground.size() != [part, height, width] {
            let expected = format!("[{part},{height},{width}], as the images");
            return Err(Error::shape("foreground", foreground, expected));
        }
        let foreground = foreground.slice(0, None, None, self.every_nth(part, group));
        let cells = &r.size()[2..];
        Ok(foreground.unsqueeze(1).to_kind(r.kind()).adaptive_avg_pool2d(cells))
    }

    /// Which images of a member's `part` of the batch the terms are computed on: every so many-th.
    fn every_nth(&self, part: i64, group: &Group) -> i64 {
        let batch = part * group.size() as i64;
        self.images.map_or(1, |images| batch / images as i64)
    }
}

/// The masks `[k,1,h,w]`, each in the place of the one after it, constant to the derivatives: each image has that of
/// another one of this member's, of which [`SibConfig::check_batch`] sees to it that there are two (decision C4).
pub(super) fn shuffled(masks: &Tensor) -> Tensor {
    masks.detach().roll(1, 0)
}
