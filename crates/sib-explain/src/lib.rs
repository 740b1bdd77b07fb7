//! Post-hoc explainers: heatmaps that say which pixels made a network give a class its score, for
//! any [`Backbone`](sib_core::Backbone), and their rendering.
//!
//! Two families share their flow. An [`InputAttribution`] gives every input channel of every pixel a
//! signed share, mostly from the gradient of the target logit; a [`Cam`] weighs the channels of a
//! feature map, and a [`ChannelWeights`] is all that tells one from another. [`Method`] names them
//! all, and [`Method::build`] makes an [`Explainer`] of a name and [`MethodOptions`].

mod cam;
mod explainer;
mod grad_cam;
mod grad_cam_plus_plus;
mod guided_backprop;
mod guided_grad_cam;
mod input_x_gradient;
mod integrated_gradients;
mod layer_cam;
mod method;
mod options;
mod quadrature;
pub mod render;
mod s_ib_map;
mod saliency;
mod score_cam;
mod smooth_grad;
mod target;

pub use cam::{Cam, CamContext, ChannelWeights};
pub use explainer::{ChannelReduction, Explainer, Explanation, InputAttribution};
pub use grad_cam::GradCam;
pub use grad_cam_plus_plus::GradCamPlusPlus;
pub use guided_backprop::GuidedBackprop;
pub use guided_grad_cam::GuidedGradCam;
pub use input_x_gradient::InputXGradient;
pub use integrated_gradients::{Baseline, CompleteAttribution, IntegratedGradients};
pub use layer_cam::LayerCam;
pub use method::Method;
pub use options::{
    BaselineValues, CamOptions, GradCamPlusPlusOptions, GuidedBackpropOptions,
    IntegratedGradientsOptions, MethodOptions, SIbMapOptions, ScoreCamOptions, SmoothGradOptions,
};
pub use quadrature::QuadratureRule;
pub use s_ib_map::{SIbMap, SIbMaps};
pub use saliency::Saliency;
pub use score_cam::{ScoreCam, ScoreWeights};
pub use smooth_grad::SmoothGrad;
pub use target::{TargetScores, target_scores};

/// The example on the crate's page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
