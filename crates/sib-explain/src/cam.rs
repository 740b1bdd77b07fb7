//! The flow shared by all class-activation maps: tap, weigh, sum, rectify, upsample.

use std::cell::OnceCell;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use sib_core::{Backbone, Error, Mode, Probe, Result};
use tch::{Kind, Tensor};

use crate::explainer::{Explainer, in_chunks};
use crate::target::{Target, gradient};

/// Settings of all class-activation maps: see [`Cam`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CamOptions {
    /// Name of the tap; the network's own choice where none is given.
    pub layer: Option<String>,
    /// Pass the activation through a ReLU first.
    pub rectify_activation: bool,
}

impl CamOptions {
    /// The map whose channels weigh `weights`, of at most `batch_size` images in one forward pass.
    pub fn cam<W>(&self, weights: W, batch_size: i64) -> Cam<W> {
        let (layer, rectify_activation) = (self.layer.clone(), self.rectify_activation);
        Cam { weights, layer, rectify_activation, batch_size }
    }
}

/// All that tells one class-activation map from another.
pub trait ChannelWeights: Debug + Send {
    /// Weights of the channels of `ctx.activation`: `[B,C,1,1]`, or `[B,C,h,w]` where they vary
    /// with the position.
    ///
    /// # Errors
    /// What libtorch refuses.
    fn weights(&self, ctx: &CamContext) -> Result<Tensor>;
}

/// What a [`ChannelWeights`] may look at.
#[derive(Debug)]
pub struct CamContext<'a> {
    /// The network.
    pub model: &'a dyn Backbone,
    /// Normalised images `[B,3,H,W]`.
    pub images: &'a Tensor,
    /// What is explained.
    pub target: &'a Target,
    /// Classes of the network.
    pub classes: i64,
    /// The tapped feature map `[B,C,h,w]`, without a graph.
    pub activation: Tensor,
    leaf: Tensor,
    score_sum: Tensor,
    gradient: OnceCell<Tensor>,
}

impl CamContext<'_> {
    /// `∂s/∂A` `[B,C,h,w]` of the target s, computed when first asked for.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn gradient(&self) -> Result<&Tensor> {
        if let Some(known) = self.gradient.get() {
            return Ok(known);
        }
        let computed = gradient(std::slice::from_ref(&self.score_sum), &self.leaf, false)?;
        Ok(self.gradient.get_or_init(|| computed.unwrap_or_else(|| self.leaf.zeros_like())))
    }
}

/// `ReLU(Σ_k w_k A_k)`, upsampled to the input (bilinear, pixel centres aligned).
#[derive(Debug, Clone)]
pub struct Cam<W> {
    /// How channels are weighed.
    pub weights: W,
    /// The tap that is read; the network's own choice where `None`.
    pub layer: Option<String>,
    /// Whether the activation passes a ReLU before it is weighed, while the gradient stays that of
    /// the tap. With DenseNet's `features.norm5` this is what hooks see on the CPU, where the
    /// in-place ReLU that follows overwrites the hooked tensor.
    pub rectify_activation: bool,
    /// Images in one forward pass.
    pub batch_size: i64,
}

impl<W: ChannelWeights> Cam<W> {
    /// The map `[B,h,w]` at the tap's own resolution.
    ///
    /// # Errors
    /// As [`Explainer::explain`], and [`Error::Invalid`] for a tap that the network has not, and where
    /// neither it nor [`Self::layer`] names one.
    pub fn coarse(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        in_chunks(self.batch_size, images, target, |images, target| self.map(model, images, target))
    }

    fn map(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        let ctx = self.context(model, images, target)?;
        let weights = self.weights.weights(&ctx)?;
        Ok((weights * &ctx.activation).sum_dim_intlist(1, false, None::<Kind>).relu())
    }

    fn context<'a>(
        &self,
        model: &'a dyn Backbone,
        images: &'a Tensor,
        target: &'a Target,
    ) -> Result<CamContext<'a>> {
        tch::with_grad(|| {
            let layer = self.layer.as_deref().or_else(|| model.cam_layer()).unwrap_or_default();
            let mut tap = Tap { layer, leaf: None, seen: Vec::new() };
            let logits = model.forward_probed(images, Mode::Eval, &mut tap);
            let Some(leaf) = tap.leaf else {
                return Err(no_such_tap(layer, &tap.seen));
            };
            if leaf.dim() != 4 {
                return Err(Error::shape("the tapped feature map", &leaf, "[B,C,h,w]"));
            }
            let activation = leaf.detach().to_kind(images.kind());
            let activation = if self.rectify_activation { activation.relu() } else { activation };
            let score_sum = target.scores(&logits)?.sum(None::<Kind>);
            Ok(CamContext {
                model,
                images,
                target,
                classes: logits.size()[1],
                activation,
                leaf,
                score_sum,
                gradient: OnceCell::new(),
            })
        })
    }
}

impl<W: ChannelWeights> Explainer for Cam<W> {
    fn explain(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        in_chunks(self.batch_size, images, target, |images, target| {
            let size = [images.size()[2], images.size()[3]];
            Ok(upsample(&self.map(model, images, target)?.unsqueeze(1), size).squeeze_dim(1))
        })
    }
}

/// `[B,C,h,w]` to `[B,C,H,W]`, bilinear with `align_corners = false`.
pub(crate) fn upsample(maps: &Tensor, size: [i64; 2]) -> Tensor {
    let upsampled = maps.upsample_bilinear2d(size, false, None, None);
    // Weights that sum to one up to rounding would make noise of a map that is flat, as one of a
    // single cell always is.
    let lowest = maps.amin([2, 3].as_slice(), true);
    let highest = maps.amax([2, 3].as_slice(), true);
    upsampled.clamp_tensor(Some(lowest), Some(highest))
}

/// What is wrong with `layer`, empty where nobody chose one, of a network with the taps `seen`.
fn no_such_tap(layer: &str, seen: &[String]) -> Error {
    let layer = if layer.is_empty() { "none" } else { layer };
    let expected = match seen {
        [] => "a tap, but the network shows its probe no feature map".to_owned(),
        _ => format!("a tap of the network: {}", seen.join(", ")),
    };
    Error::invalid("cam.layer", layer, expected)
}

/// Makes the named feature map a leaf: what lies before it is not differentiated, nor kept.
struct Tap<'a> {
    layer: &'a str,
    leaf: Option<Tensor>,
    seen: Vec<String>,
}

impl Probe for Tap<'_> {
    fn keeps_relu(&self) -> bool {
        true
    }

    fn tap(&mut self, layer: &str, x: Tensor) -> Tensor {
        self.seen.push(layer.to_owned());
        if layer != self.layer || self.leaf.is_some() {
            return x;
        }
        let leaf = x.detach().set_requires_grad(true);
        self.leaf = Some(leaf.shallow_clone());
        leaf
    }
}
