//! The methods by name, and their settings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sib_core::{Error, Result};

use crate::cam::CamOptions;
use crate::explainer::{Explainer, InputAttribution};
use crate::grad_cam::{self, GradCam};
use crate::grad_cam_plus_plus::{self, GradCamPlusPlus, GradCamPlusPlusOptions};
use crate::guided_backprop::{self, GuidedBackprop, GuidedBackpropOptions};
use crate::guided_grad_cam::{self, GuidedGradCam};
use crate::input_x_gradient::{self, InputXGradient};
use crate::integrated_gradients::{self, IntegratedGradients, IntegratedGradientsOptions};
use crate::layer_cam::{self, LayerCam};
use crate::s_ib_map::{self, SIbMap, SIbMapOptions};
use crate::saliency::{self, Saliency};
use crate::score_cam::{self, ScoreCam, ScoreCamOptions};
use crate::smooth_grad::{self, SmoothGrad};
use crate::spec::Spec;

/// Makes of `Variant = module: builder` the names, in the order in which they are listed to users,
/// each with the `SPEC` of its module. A builder makes an explainer of all options and the rows of
/// one forward pass.
macro_rules! methods {
    ($($variant:ident = $module:ident: $build:expr,)*) => {
        /// The name of an explainer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum Method {
            $(
                #[doc = concat!("[`", stringify!($variant), "`].")]
                $variant,
            )*
        }

        impl Method {
            /// All of them, those that the paper compares first.
            pub const ALL: [Self; [$(stringify!($variant)),*].len()] = [$(Self::$variant),*];

            fn spec(self) -> &'static Spec {
                match self {
                    $(Self::$variant => &$module::SPEC,)*
                }
            }

            fn built(self, options: &MethodOptions) -> Result<Built> {
                let build: fn(&MethodOptions, i64) -> Result<Built> = match self {
                    $(Self::$variant => $build,)*
                };
                build(options, options.batch_size_of(self))
            }
        }
    };
}

methods! {
    Saliency = saliency: |_, rows| attribution(Saliency { batch_size: rows }),
    GuidedBackprop = guided_backprop: |o, rows| attribution(o.guided(rows)),
    IntegratedGradients = integrated_gradients:
        |o, rows| attribution(IntegratedGradients::new(&o.integrated_gradients, rows)?),
    GradCam = grad_cam: |o, rows| heatmap(o.cam.cam(GradCam, rows)),
    GradCamPlusPlus = grad_cam_plus_plus:
        |o, rows| heatmap(o.cam.cam(GradCamPlusPlus::new(&o.grad_cam_plus_plus), rows)),
    ScoreCam = score_cam: |o, rows| heatmap(o.cam.cam(ScoreCam::new(&o.score_cam, rows), rows)),
    SIbMap = s_ib_map: |o, rows| heatmap(SIbMap::new(&o.s_ib_map, rows)?),
    InputXGradient = input_x_gradient: |_, rows| attribution(InputXGradient { batch_size: rows }),
    SmoothGrad = smooth_grad: |o, _| attribution(o.smoothed()?),
    LayerCam = layer_cam: |o, rows| heatmap(o.cam.cam(LayerCam, rows)),
    GuidedGradCam = guided_grad_cam: |o, rows| {
        attribution(GuidedGradCam { cam: o.cam.cam(GradCam, rows), guided: o.guided(rows) })
    },
}

/// What a builder makes.
enum Built {
    /// Of a method that attributes to the input.
    Attribution(Box<dyn InputAttribution>),
    /// Of one that does not.
    Heatmap(Box<dyn Explainer>),
}

fn attribution(method: impl InputAttribution + 'static) -> Result<Built> {
    Ok(Built::Attribution(Box::new(method)))
}

fn heatmap(method: impl Explainer + 'static) -> Result<Built> {
    Ok(Built::Heatmap(Box::new(method)))
}

impl Method {
    /// The methods that the paper compares.
    pub const PAPER: [Self; 7] = [
        Self::Saliency,
        Self::GuidedBackprop,
        Self::IntegratedGradients,
        Self::GradCam,
        Self::GradCamPlusPlus,
        Self::ScoreCam,
        Self::SIbMap,
    ];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The name in figures and tables.
    pub fn title(self) -> &'static str {
        self.spec().title
    }

    /// Rows of one forward pass where the options say nothing.
    pub fn batch_size(self) -> i64 {
        self.spec().batch_size
    }

    /// The explainer of this name.
    ///
    /// # Errors
    /// [`Error::Invalid`] for options out of range.
    pub fn build(self, options: &MethodOptions) -> Result<Box<dyn Explainer>> {
        Ok(match self.built(options)? {
            Built::Attribution(method) => Box::new(method),
            Built::Heatmap(method) => method,
        })
    }

    /// The explainer of this name as one that attributes to the input.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a method that does not, or for options out of range.
    pub fn build_attribution(self, options: &MethodOptions) -> Result<Box<dyn InputAttribution>> {
        match self.built(options)? {
            Built::Attribution(method) => Ok(method),
            Built::Heatmap(_) => {
                let expected = "a method that attributes to the input, such as saliency";
                Err(Error::invalid("method", self, expected))
            }
        }
    }
}

/// Settings of all methods; the defaults are the definitions that each method's own type names.
///
/// A table of a configuration, or changed key by key with [`Self::set`]:
/// `integrated-gradients.steps=200`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MethodOptions {
    /// Rows of one forward pass; each method has its own default, see [`Method::batch_size`].
    pub batch_size: Option<i64>,
    /// All class-activation maps.
    pub cam: CamOptions,
    /// `grad-cam-plus-plus`.
    #[serde(rename = "grad-cam-plus-plus")]
    pub grad_cam_plus_plus: GradCamPlusPlusOptions,
    /// `score-cam`.
    #[serde(rename = "score-cam")]
    pub score_cam: ScoreCamOptions,
    /// `guided-backprop`, and its part in `guided-grad-cam`.
    #[serde(rename = "guided-backprop")]
    pub guided_backprop: GuidedBackpropOptions,
    /// `integrated-gradients`.
    #[serde(rename = "integrated-gradients")]
    pub integrated_gradients: IntegratedGradientsOptions,
    /// `smooth-grad`.
    #[serde(rename = "smooth-grad")]
    pub smooth_grad: SmoothGradOptions,
    /// `s-ib-map`.
    #[serde(rename = "s-ib-map")]
    pub s_ib_map: SIbMapOptions,
}

/// Settings of `smooth-grad`: see [`SmoothGrad`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmoothGradOptions {
    /// The method that is smoothed, one that attributes to the input.
    pub of: Method,
    /// Noisy copies of each image.
    pub samples: usize,
    /// Standard deviation of the noise, as a fraction of each image's range.
    pub noise_frac: f64,
    /// Seed of the noise.
    pub seed: u64,
}

impl Default for SmoothGradOptions {
    fn default() -> Self {
        Self { of: Method::Saliency, samples: 25, noise_frac: 0.15, seed: 0 }
    }
}

impl MethodOptions {
    /// Rows of one forward pass of `method`.
    pub fn batch_size_of(&self, method: Method) -> i64 {
        self.batch_size.unwrap_or_else(|| method.batch_size())
    }

    fn guided(&self, batch_size: i64) -> GuidedBackprop {
        GuidedBackprop::new(&self.guided_backprop, batch_size)
    }

    fn smoothed(&self) -> Result<SmoothGrad> {
        let SmoothGradOptions { of, samples, noise_frac, seed } = self.smooth_grad;
        if of == Method::SmoothGrad {
            return Err(Error::invalid("smooth-grad.of", of, "another method"));
        }
        let Built::Attribution(of) = of.built(self)? else {
            let expected = "a method that attributes to the input, such as saliency";
            return Err(Error::invalid("smooth-grad.of", of, expected));
        };
        Ok(SmoothGrad { of, samples, noise_frac, seed })
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
        if let Some(found) = Self::ALL.into_iter().find(|method| method.name() == text) {
            return Ok(found);
        }
        let typed = text.to_lowercase().replace('+', "-plus").replace(['_', ' '], "-");
        let nearest = Self::ALL
            .into_iter()
            .map(|method| (strsim::jaro_winkler(&typed, method.name()), method))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(similarity, _)| *similarity > 0.7)
            .map(|(_, method)| format!(" (nearest: {method})"))
            .unwrap_or_default();
        let names = Self::ALL.map(Self::name).join(", ");
        Err(Error::invalid("method", text, format!("one of {names}{nearest}")))
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
