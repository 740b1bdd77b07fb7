//! The class whose logit is explained: chosen, checked, and differentiated.

use sib_core::{Backbone, Error, Mode, Result};
use tch::{Kind, Tensor};

use crate::explainer::checked_count;

/// Classes to explain, with what the network says of them.
#[derive(Debug)]
pub struct TargetScores {
    /// Class indices, i64 `[B]`.
    pub targets: Tensor,
    /// Their logits `[B]`.
    pub logits: Tensor,
    /// Their softmax probabilities `[B]`.
    pub probabilities: Tensor,
}

/// Scores of `targets` (i64 `[B]`), or of each image's most probable class where there are none.
///
/// `images` are normalised, `[B,3,H,W]`, and pass through `model` in evaluation mode, at most
/// `batch_size` at a time.
///
/// # Errors
/// [`Error::Shape`] for inputs of other shapes, [`Error::Invalid`] for a target that is no class of
/// the network, [`Error::NonFinite`] for logits that are not finite.
pub fn target_scores(
    model: &dyn Backbone,
    images: &Tensor,
    targets: Option<&Tensor>,
    batch_size: i64,
) -> Result<TargetScores> {
    let count = checked_count(images)?;
    if batch_size < 1 {
        return Err(Error::invalid("batch_size", batch_size, "at least 1"));
    }
    tch::no_grad(|| {
        let logits = images
            .split(batch_size, 0)
            .iter()
            .map(|chunk| model.forward(chunk, Mode::Eval))
            .collect::<Vec<_>>();
        let logits = Tensor::cat(&logits, 0);
        if logits.isfinite().all().int64_value(&[]) == 0 {
            return Err(Error::NonFinite { what: "a logit of the network".to_owned() });
        }
        let targets = match targets {
            Some(given) if given.size() != [count] || given.kind() != Kind::Int64 => {
                let expected = format!("i64 class indices [{count}]");
                return Err(Error::shape("targets", given, expected));
            }
            Some(given) => given.to_device(images.device()),
            None => logits.argmax(1, false),
        };
        Ok(TargetScores {
            probabilities: target_logits(&logits.softmax(1, None::<Kind>), &targets)?,
            logits: target_logits(&logits, &targets)?,
            targets,
        })
    })
}

/// The entries `[B]` of `logits` `[B,K]` at the class indices `targets` `[B]`.
///
/// # Errors
/// [`Error::Invalid`] for a target outside `0..K`.
pub(crate) fn target_logits(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let classes = logits.size()[1];
    let (lowest, highest) = (targets.min().int64_value(&[]), targets.max().int64_value(&[]));
    if lowest < 0 || highest >= classes {
        let outside = if lowest < 0 { lowest } else { highest };
        let expected = format!("a class index from 0 to {}", classes - 1);
        return Err(Error::invalid("target", outside, expected));
    }
    Ok(logits.gather(1, &targets.unsqueeze(1), false).squeeze_dim(1))
}

/// `∂z_c/∂x` `[B,3,H,W]`: in evaluation mode no image sees another, so the gradient of the sum of
/// the target logits holds every image's own gradient.
pub(crate) fn logit_gradient(
    model: &dyn Backbone,
    images: &Tensor,
    targets: &Tensor,
) -> Result<Tensor> {
    tch::with_grad(|| {
        let leaf = images.detach().set_requires_grad(true);
        let logits = model.forward(&leaf, Mode::Eval);
        let sum = target_logits(&logits, targets)?.sum(None::<Kind>);
        Ok(gradient(&[sum], &leaf, false)?.unwrap_or_else(|| leaf.zeros_like()))
    })
}

/// The gradient of the sum of all `scalars` with respect to `leaf`, or `None` where none of them
/// depends on it. Without `keep_graph`, buffers are freed on the way.
pub(crate) fn gradient(
    scalars: &[Tensor],
    leaf: &Tensor,
    keep_graph: bool,
) -> Result<Option<Tensor>> {
    let gradient = Tensor::f_run_backward(scalars, &[leaf], keep_graph, false)?.swap_remove(0);
    Ok(gradient.defined().then_some(gradient))
}
