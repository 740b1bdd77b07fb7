//! The methods by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sib_core::{Error, Result};

use crate::cam::{Cam, ChannelWeights};
use crate::explainer::{Explainer, InputAttribution};
use crate::grad_cam::GradCam;
use crate::grad_cam_plus_plus::GradCamPlusPlus;
use crate::guided_backprop::GuidedBackprop;
use crate::guided_grad_cam::GuidedGradCam;
use crate::input_x_gradient::InputXGradient;
use crate::integrated_gradients::IntegratedGradients;
use crate::layer_cam::LayerCam;
use crate::options::MethodOptions;
use crate::s_ib_map::SIbMap;
use crate::saliency::Saliency;
use crate::score_cam::ScoreCam;
use crate::smooth_grad::SmoothGrad;

/// The name of an explainer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Method {
    /// [`Saliency`].
    Saliency,
    /// [`GuidedBackprop`].
    GuidedBackprop,
    /// [`IntegratedGradients`].
    IntegratedGradients,
    /// [`GradCam`].
    GradCam,
    /// [`GradCamPlusPlus`].
    GradCamPlusPlus,
    /// [`ScoreCam`].
    ScoreCam,
    /// [`SIbMap`].
    SIbMap,
    /// [`InputXGradient`].
    InputXGradient,
    /// [`SmoothGrad`].
    SmoothGrad,
    /// [`LayerCam`].
    LayerCam,
    /// [`GuidedGradCam`].
    GuidedGradCam,
}

impl Method {
    /// The methods that the paper compares.
    pub const ALL: [Self; 7] = [
        Self::Saliency,
        Self::GuidedBackprop,
        Self::IntegratedGradients,
        Self::GradCam,
        Self::GradCamPlusPlus,
        Self::ScoreCam,
        Self::SIbMap,
    ];

    /// Further methods.
    pub const EXTRA: [Self; 4] =
        [Self::InputXGradient, Self::SmoothGrad, Self::LayerCam, Self::GuidedGradCam];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Saliency => "saliency",
            Self::GuidedBackprop => "guided-backprop",
            Self::IntegratedGradients => "integrated-gradients",
            Self::GradCam => "grad-cam",
            Self::GradCamPlusPlus => "grad-cam-plus-plus",
            Self::ScoreCam => "score-cam",
            Self::SIbMap => "s-ib-map",
            Self::InputXGradient => "input-x-gradient",
            Self::SmoothGrad => "smooth-grad",
            Self::LayerCam => "layer-cam",
            Self::GuidedGradCam => "guided-grad-cam",
        }
    }

    /// The name in figures and tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Saliency => "Saliency",
            Self::GuidedBackprop => "Guided Backprop",
            Self::IntegratedGradients => "Integrated Gradients",
            Self::GradCam => "GradCAM",
            Self::GradCamPlusPlus => "GradCAM++",
            Self::ScoreCam => "ScoreCAM",
            Self::SIbMap => "S-IB map",
            Self::InputXGradient => "Input×Gradient",
            Self::SmoothGrad => "SmoothGrad",
            Self::LayerCam => "LayerCAM",
            Self::GuidedGradCam => "Guided GradCAM",
        }
    }

    /// Rows of one forward pass where the options say nothing: `explain` on a ResNet-50 at 224 px
    /// then peaks at 0.5 to 1.9 GB (measured on the CPU). A full backward graph costs most, a cut one somewhat more; class-activation maps
    /// keep none before their tap.
    pub fn batch_size(self) -> i64 {
        match self {
            Self::Saliency
            | Self::IntegratedGradients
            | Self::InputXGradient
            | Self::SmoothGrad
            | Self::SIbMap => 16,
            Self::GuidedBackprop | Self::GuidedGradCam => 8,
            Self::GradCam | Self::GradCamPlusPlus | Self::LayerCam | Self::ScoreCam => 32,
        }
    }

    /// The explainer of this name.
    ///
    /// # Errors
    /// [`Error::Invalid`] for options out of range.
    pub fn build(self, options: &MethodOptions) -> Result<Box<dyn Explainer>> {
        Ok(match self {
            Self::GradCam => Box::new(self.cam(GradCam, options)),
            Self::GradCamPlusPlus => {
                let epsilon = options.grad_cam_plus_plus.epsilon;
                Box::new(self.cam(GradCamPlusPlus { epsilon }, options))
            }
            Self::LayerCam => Box::new(self.cam(LayerCam, options)),
            Self::ScoreCam => {
                let batch_size = self.rows(options);
                let score_cam = &options.score_cam;
                let weights = ScoreCam {
                    weights: score_cam.weights,
                    align_corners: score_cam.align_corners,
                    batch_size,
                };
                Box::new(self.cam(weights, options))
            }
            Self::SIbMap => Box::new(SIbMap::new(options)?),
            _ => Box::new(self.build_attribution(options)?),
        })
    }

    /// The explainer of this name as one that attributes to the input.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a method that does not, or for options out of range.
    pub fn build_attribution(self, options: &MethodOptions) -> Result<Box<dyn InputAttribution>> {
        let batch_size = self.rows(options);
        let guide_last_relu = options.guided_backprop.guide_last_relu;
        Ok(match self {
            Self::Saliency => Box::new(Saliency { batch_size }),
            Self::InputXGradient => Box::new(InputXGradient { batch_size }),
            Self::GuidedBackprop => Box::new(GuidedBackprop { batch_size, guide_last_relu }),
            Self::GuidedGradCam => Box::new(GuidedGradCam {
                cam: self.cam(GradCam, options),
                guided: GuidedBackprop { batch_size, guide_last_relu },
            }),
            Self::IntegratedGradients => {
                let chosen = &options.integrated_gradients;
                chosen.rule.nodes(chosen.steps)?;
                Box::new(IntegratedGradients {
                    steps: chosen.steps,
                    rule: chosen.rule,
                    baseline: (&chosen.baseline).into(),
                    batch_size,
                })
            }
            Self::SmoothGrad => {
                let chosen = &options.smooth_grad;
                if chosen.of == Self::SmoothGrad {
                    return Err(Error::invalid("smooth-grad.of", self, "another method"));
                }
                Box::new(SmoothGrad {
                    of: chosen.of.build_attribution(options)?,
                    samples: chosen.samples,
                    noise_frac: chosen.noise_frac,
                    seed: chosen.seed,
                })
            }
            Self::GradCam
            | Self::GradCamPlusPlus
            | Self::LayerCam
            | Self::ScoreCam
            | Self::SIbMap => {
                let expected = "a method that attributes to the input, such as saliency";
                return Err(Error::invalid("smooth-grad.of", self, expected));
            }
        })
    }

    fn rows(self, options: &MethodOptions) -> i64 {
        options.batch_size.unwrap_or_else(|| self.batch_size())
    }

    fn cam<W: ChannelWeights>(self, weights: W, options: &MethodOptions) -> Cam<W> {
        Cam {
            weights,
            layer: options.cam.layer.clone(),
            rectify_activation: options.cam.rectify_activation,
            batch_size: self.rows(options),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let methods = || Self::ALL.into_iter().chain(Self::EXTRA);
        if let Some(found) = methods().find(|method| method.name() == text) {
            return Ok(found);
        }
        let typed = text.to_lowercase().replace('+', "-plus").replace(['_', ' '], "-");
        let nearest = methods()
            .map(|method| (strsim::jaro_winkler(&typed, method.name()), method))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(similarity, _)| *similarity > 0.7)
            .map(|(_, method)| format!(" (nearest: {method})"))
            .unwrap_or_default();
        let names: Vec<_> = methods().map(Self::name).collect();
        Err(Error::invalid("method", text, format!("one of {}{nearest}", names.join(", "))))
    }
}

impl TryFrom<String> for Method {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Method> for &'static str {
    fn from(method: Method) -> Self {
        method.name()
    }
}
