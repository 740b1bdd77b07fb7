//! What of a network's answer is explained, and its derivative.

use std::fmt;
use std::sync::Arc;

use sib_core::{Backbone, Error, Mode, Result};
use tch::{Kind, Tensor};

use crate::input::checked_count;

/// What is explained: a scalar of each image's logits.
///
/// A map for `z_a` says why the network gives class a its score; for `z_a − z_b`, why a rather than b;
/// for `log p_a`, why a rather than all others.
#[derive(Debug)]
pub enum Target {
    /// `z_c`, the logit of a class.
    Class(
        /// Class indices, i64 `[B]`.
        Tensor,
    ),
    /// `z_a − z_b`, how far one class is ahead of another.
    Difference {
        /// a: class indices, i64 `[B]`.
        class: Tensor,
        /// b: class indices, i64 `[B]`.
        other: Tensor,
    },
    /// `log p_c = z_c − log Σ_k exp z_k`, the logarithm of a class's softmax probability.
    LogProbability(
        /// Class indices, i64 `[B]`.
        Tensor,
    ),
    /// Whatever else can be said of the logits.
    Scalar(ScalarFn),
}

/// A function of one's own from logits `[N,K]` to scalars `[N]`, differentiable by libtorch.
///
/// Each scalar is of its own row alone, whatever the number of rows: an image passes the network in
/// chunks with others, several times for some methods.
#[derive(Clone)]
pub struct ScalarFn(Arc<dyn Fn(&Tensor) -> Tensor + Send + Sync>);

impl fmt::Debug for ScalarFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScalarFn")
    }
}

impl Target {
    /// The logits of these classes, i64 `[B]`.
    pub fn class(classes: &Tensor) -> Self {
        Self::Class(classes.shallow_clone())
    }

    /// How far the logits of `classes` are ahead of those of `others`, i64 `[B]` each.
    pub fn difference(classes: &Tensor, others: &Tensor) -> Self {
        Self::Difference { class: classes.shallow_clone(), other: others.shallow_clone() }
    }

    /// The logarithms of the softmax probabilities of these classes, i64 `[B]`.
    pub fn log_probability(classes: &Tensor) -> Self {
        Self::LogProbability(classes.shallow_clone())
    }

    /// A scalar of one's own: see [`ScalarFn`].
    pub fn scalar(scalar: impl Fn(&Tensor) -> Tensor + Send + Sync + 'static) -> Self {
        Self::Scalar(ScalarFn(Arc::new(scalar)))
    }

    /// The scalars `[B]` of `logits` `[B,K]`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a target that is no class of the network; [`Error::Shape`] where a
    /// scalar of one's own is not `[B]`.
    pub fn scores(&self, logits: &Tensor) -> Result<Tensor> {
        match self {
            Self::Class(classes) => entries(logits, classes),
            Self::Difference { class, other } => {
                Ok(entries(logits, class)? - entries(logits, other)?)
            }
            Self::LogProbability(classes) => entries(&logits.log_softmax(1, None::<Kind>), classes),
            Self::Scalar(ScalarFn(scalar)) => {
                let scores = scalar(logits);
                if scores.size() != logits.size()[..1] {
                    let expected = format!("one scalar an image, {:?}", &logits.size()[..1]);
                    return Err(Error::shape("the scalar of the logits", &scores, expected));
                }
                Ok(scores)
            }
        }
    }

    /// The targets of the `length` images from number `start` on.
    #[must_use]
    pub fn narrow(&self, start: i64, length: i64) -> Self {
        self.map(|classes| classes.narrow(0, start, length))
    }

    /// The targets of the images that `rows`, i64 `[N]`, number.
    pub(crate) fn select(&self, rows: &Tensor) -> Self {
        self.map(|classes| classes.index_select(0, rows))
    }

    /// The targets of all images, `times` times over.
    pub(crate) fn repeated(&self, times: i64) -> Self {
        self.map(|classes| classes.repeat(times))
    }

    /// The target for images `[B,3,H,W]` on their device.
    ///
    /// # Errors
    /// [`Error::Shape`] for anything but class indices, i64 `[B]`.
    pub(crate) fn of_images(&self, images: &Tensor) -> Result<Self> {
        let classes = match self {
            Self::Class(class) | Self::LogProbability(class) => &[class][..],
            Self::Difference { class, other } => &[class, other],
            Self::Scalar(_) => &[],
        };
        classes.iter().try_for_each(|classes| expect_indices(classes, images.size()[0]))?;
        Ok(self.map(|classes| classes.to_device(images.device())))
    }

    /// The target with what it knows of each image changed by `change`.
    fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        match self {
            Self::Class(classes) => Self::Class(change(classes)),
            Self::Difference { class, other } => {
                Self::Difference { class: change(class), other: change(other) }
            }
            Self::LogProbability(classes) => Self::LogProbability(change(classes)),
            Self::Scalar(scalar) => Self::Scalar(scalar.clone()),
        }
    }
}

fn expect_indices(classes: &Tensor, count: i64) -> Result<()> {
    if classes.size() == [count] && classes.kind() == Kind::Int64 {
        return Ok(());
    }
    Err(Error::shape("targets", classes, format!("i64 class indices [{count}]")))
}

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
            Some(given) => {
                expect_indices(given, count)?;
                given.to_device(images.device())
            }
            None => logits.argmax(1, false),
        };
        Ok(TargetScores {
            probabilities: entries(&logits.softmax(1, None::<Kind>), &targets)?,
            logits: entries(&logits, &targets)?,
            targets,
        })
    })
}

/// The entries `[B]` of `values` `[B,K]`, one a class, at the class indices `classes` `[B]`.
///
/// # Errors
/// [`Error::Invalid`] for a target outside `0..K`.
pub(crate) fn entries(values: &Tensor, classes: &Tensor) -> Result<Tensor> {
    let (known, classes) = (values.size()[1], classes.to_device(values.device()));
    let (lowest, highest) = (classes.min().int64_value(&[]), classes.max().int64_value(&[]));
    if lowest < 0 || highest >= known {
        let outside = if lowest < 0 { lowest } else { highest };
        let expected = format!("a class index from 0 to {}", known - 1);
        return Err(Error::invalid("target", outside, expected));
    }
    Ok(values.gather(1, &classes.unsqueeze(1), false).squeeze_dim(1))
}

/// The gradient `[B,3,H,W]` of each image's scalar with respect to the image: in evaluation mode no
/// image sees another, so that the gradient of the sum of the scalars holds every image's own.
pub(crate) fn input_gradient(
    model: &dyn Backbone,
    images: &Tensor,
    target: &Target,
) -> Result<Tensor> {
    tch::with_grad(|| {
        let leaf = images.detach().set_requires_grad(true);
        let logits = model.forward(&leaf, Mode::Eval);
        let sum = target.scores(&logits)?.sum(None::<Kind>);
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
