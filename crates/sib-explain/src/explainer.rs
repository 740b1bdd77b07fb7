//! What an explainer is, and what all of them share: checked inputs, chunks, finite heatmaps.

use std::fmt::Debug;

use sib_core::{Backbone, Error, Result};
use tch::{Kind, Tensor};

use crate::input::checked_count;
use crate::target::Target;

/// Says which pixels made a network give a class its score, or any other [`Target`] its value.
pub trait Explainer: Debug + Send {
    /// Heatmaps of `images` for `target`, with `model` in evaluation mode.
    ///
    /// `images` are normalised, `[B,3,H,W]`. Returns
    /// `[B,H,W]` on the device and in the kind of `images`, in the method's own scale; higher means
    /// more relevant.
    ///
    /// # Errors
    /// [`Error::Shape`] for inputs of other shapes, [`Error::Invalid`] for a target that is no
    /// class of the network, [`Error::NonFinite`] where the network or its gradient overflows.
    fn explain(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor>;

    /// The heatmaps with what the method says of their error.
    ///
    /// # Errors
    /// As [`Self::explain`].
    fn explain_with_error(
        &self,
        model: &dyn Backbone,
        images: &Tensor,
        target: &Target,
    ) -> Result<Explanation> {
        Ok(Explanation { heatmaps: self.explain(model, images, target)?, completeness_error: None })
    }
}

/// Heatmaps and what is known of their error.
#[derive(Debug)]
pub struct Explanation {
    /// `[B,H,W]`, as [`Explainer::explain`] gives them.
    pub heatmaps: Tensor,
    /// `[B]`: how far the attribution's sum is from what it should be, as a fraction of that; of
    /// methods that approximate a complete attribution.
    pub completeness_error: Option<Tensor>,
}

/// How an attribution to every input channel becomes a heatmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelReduction {
    /// `max_c |a_c|`, as for saliency maps (arXiv:1312.6034, section 3.1).
    MaxAbs,
    /// `Σ_c |a_c|`, for attributions whose sum over all inputs means something.
    SumAbs,
}

impl ChannelReduction {
    /// Reduces `[B,C,H,W]` to `[B,H,W]`.
    pub fn apply(self, attribution: &Tensor) -> Tensor {
        let magnitude = attribution.abs();
        match self {
            Self::MaxAbs => magnitude.amax(1, false),
            Self::SumAbs => magnitude.sum_dim_intlist(1, false, None::<Kind>),
        }
    }
}

/// An explainer that gives every input channel of every pixel a signed share.
///
/// Implementors get [`Explainer`] through [`Self::reduction`].
pub trait InputAttribution: Debug + Send {
    /// The most rows that one forward pass may have.
    fn batch_size(&self) -> i64;

    /// How the channels become one heatmap.
    fn reduction(&self) -> ChannelReduction;

    /// Signed attribution `[b,3,H,W]` of one chunk of at most [`Self::batch_size`] checked images.
    ///
    /// # Errors
    /// As [`Explainer::explain`].
    fn attribute(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor>;

    /// [`Explanation::completeness_error`] of a signed `attribution` `[B,3,H,W]`; none where the
    /// method promises no sum.
    ///
    /// # Errors
    /// As [`Explainer::explain`].
    fn completeness_error(
        &self,
        model: &dyn Backbone,
        images: &Tensor,
        target: &Target,
        attribution: &Tensor,
    ) -> Result<Option<Tensor>> {
        let _ = (model, images, target, attribution);
        Ok(None)
    }

    /// Signed attribution `[B,3,H,W]` of any number of images.
    ///
    /// # Errors
    /// As [`Explainer::explain`].
    fn signed(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        in_chunks(self.batch_size(), images, target, |images, target| {
            self.attribute(model, images, target)
        })
    }
}

impl InputAttribution for Box<dyn InputAttribution> {
    fn batch_size(&self) -> i64 {
        self.as_ref().batch_size()
    }

    fn reduction(&self) -> ChannelReduction {
        self.as_ref().reduction()
    }

    fn attribute(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        self.as_ref().attribute(model, images, target)
    }

    fn completeness_error(
        &self,
        model: &dyn Backbone,
        images: &Tensor,
        target: &Target,
        attribution: &Tensor,
    ) -> Result<Option<Tensor>> {
        self.as_ref().completeness_error(model, images, target, attribution)
    }
}

impl<A: InputAttribution> Explainer for A {
    fn explain(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        in_chunks(self.batch_size(), images, target, |images, target| {
            Ok(self.reduction().apply(&self.attribute(model, images, target)?))
        })
    }

    fn explain_with_error(
        &self,
        model: &dyn Backbone,
        images: &Tensor,
        target: &Target,
    ) -> Result<Explanation> {
        let signed = self.signed(model, images, target)?;
        let completeness_error = self.completeness_error(model, images, target, &signed)?;
        Ok(Explanation { heatmaps: self.reduction().apply(&signed), completeness_error })
    }
}

/// Checks the inputs, runs `explain` on at most `batch_size` images at a time and joins what it
/// returns, which must be finite.
pub(crate) fn in_chunks(
    batch_size: i64,
    images: &Tensor,
    target: &Target,
    explain: impl Fn(&Tensor, &Target) -> Result<Tensor>,
) -> Result<Tensor> {
    let count = checked_count(images)?;
    let target = target.of_images(images)?;
    if batch_size < 1 {
        return Err(Error::invalid("batch_size", batch_size, "at least 1"));
    }
    let mut chunks = Vec::new();
    for start in (0..count).step_by(batch_size as usize) {
        let length = batch_size.min(count - start);
        let chunk =
            explain(&images.narrow(0, start, length), &target.narrow(start, length))?.detach();
        if let Some(index) = first_non_finite(&chunk) {
            let what = format!("the heatmap of image {} of {count}", start + index + 1);
            return Err(Error::NonFinite { what });
        }
        chunks.push(chunk);
    }
    Ok(Tensor::cat(&chunks, 0))
}

/// The index of the first row of `tensor` that holds an infinity or NaN.
fn first_non_finite(tensor: &Tensor) -> Option<i64> {
    if tensor.isfinite().all().int64_value(&[]) == 1 {
        return None;
    }
    let finite = tensor.isfinite().flatten(1, -1).all_dim(1, false);
    (0..tensor.size()[0]).find(|&row| finite.int64_value(&[row]) == 0)
}
