//! Post-hoc explainers: heatmaps that say which pixels made a network give a class its score, for
//! any [`Backbone`](sib_core::Backbone), and their rendering.
//!
//! Two families share their flow. An [`InputAttribution`] gives every input channel of every pixel a
//! signed share, mostly from the gradient of the [`Target`]; a [`Cam`] weighs the channels of a
//! feature map, and a [`ChannelWeights`] is all that tells one from another. [`Method`] names them
//! all, and [`Method::build`] makes an [`Explainer`] of a name and [`MethodOptions`].
//!
//! ```no_run
//! # use sib_core::{Backbone, Result};
//! # use sib_explain::{Method, MethodOptions, Target};
//! # use tch::Tensor;
//! /// Heatmaps `[B,H,W]` of normalised `images` `[B,3,H,W]`: why each is of its class in `labels` `[B]` rather
//! /// than of the other.
//! fn explain(net: &dyn Backbone, images: &Tensor, labels: &Tensor) -> Result<Tensor> {
//!     let explainer = Method::GradCam.build(&MethodOptions::default())?;
//!     explainer.explain(net, images, &Target::difference(labels, &(1 - labels)))
//! }
//! ```

mod cam;
mod explainer;
mod grad_cam;
mod grad_cam_plus_plus;
mod guided_backprop;
mod guided_grad_cam;
mod input;
mod input_x_gradient;
mod integrated_gradients;
mod layer_cam;
mod method;
mod options;
mod quadrature;
pub mod render;
mod robust;
mod s_ib_map;
mod saliency;
mod score_cam;
mod smooth_grad;
mod spec;
mod target;

pub use cam::{Cam, CamContext, CamOptions, ChannelWeights};
pub use explainer::{ChannelReduction, Explainer, Explanation, InputAttribution};
pub use grad_cam::GradCam;
pub use grad_cam_plus_plus::{GradCamPlusPlus, GradCamPlusPlusOptions};
pub use guided_backprop::{GuidedBackprop, GuidedBackpropOptions};
pub use guided_grad_cam::GuidedGradCam;
pub use input_x_gradient::InputXGradient;
pub use integrated_gradients::{
    Baseline, BaselineValues, CompleteAttribution, IntegratedGradients, IntegratedGradientsOptions,
};
pub use layer_cam::LayerCam;
pub use method::{Method, MethodOptions, SmoothGradOptions};
pub use quadrature::QuadratureRule;
pub use robust::explain_or_nan;
pub use s_ib_map::{SIbMap, SIbMapOptions, SIbMaps};
pub use saliency::Saliency;
pub use score_cam::{ScoreCam, ScoreCamOptions, ScoreWeights};
pub use smooth_grad::SmoothGrad;
pub use target::{ScalarFn, Target, TargetScores, target_scores};

/// The example on the crate's page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
