//! Heatmaps of a batch of which some image has none.

use sib_core::{Backbone, Error, Result};
use tch::Tensor;

use crate::explainer::Explainer;
use crate::target::Target;

/// Heatmaps `[B,H,W]` of `images` `[B,3,H,W]` for `target` by `explainer`; all NaN for
/// an image that it gives no finite one of.
///
/// # Errors
/// What [`Explainer::explain`] refuses, but for [`Error::NonFinite`].
pub fn explain_or_nan(
    explainer: &dyn Explainer,
    model: &dyn Backbone,
    images: &Tensor,
    target: &Target,
) -> Result<Tensor> {
    match explainer.explain(model, images, target) {
        // Which one it is shows when they are taken one by one; the others are fine.
        Err(Error::NonFinite { .. }) => {
            let one = |i| {
                explain_one_or_nan(explainer, model, &images.narrow(0, i, 1), &target.narrow(i, 1))
            };
            let maps: Vec<Tensor> = (0..images.size()[0]).map(one).collect::<Result<_>>()?;
            Ok(Tensor::cat(&maps, 0))
        }
        other => other,
    }
}

fn explain_one_or_nan(
    explainer: &dyn Explainer,
    model: &dyn Backbone,
    image: &Tensor,
    target: &Target,
) -> Result<Tensor> {
    match explainer.explain(model, image, target) {
        Err(Error::NonFinite { .. }) => {
            let size = image.size();
            let options = (image.kind(), image.device());
            Ok(Tensor::full([1, size[2], size[3]], f64::NAN, options))
        }
        other => other,
    }
}
