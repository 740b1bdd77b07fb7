//! Settings of the methods, read from configuration tables and from `key=value`.

use serde::{Deserialize, Serialize};
use sib_core::objective::{MaskConfig, VjpConfig};
use sib_core::{Error, Result, nearest};

use crate::integrated_gradients::Baseline;
use crate::method::Method;
use crate::quadrature::QuadratureRule;
use crate::score_cam::ScoreWeights;

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

/// Settings of all class-activation maps: see [`Cam`](crate::Cam).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CamOptions {
    /// Name of the tap; the network's own choice where none is given.
    pub layer: Option<String>,
    /// Pass the activation through a ReLU first.
    pub rectify_activation: bool,
}

/// Settings of `grad-cam-plus-plus`: see [`GradCamPlusPlus`](crate::GradCamPlusPlus).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradCamPlusPlusOptions {
    /// Added to the denominator.
    pub epsilon: f64,
}

/// Settings of `score-cam`: see [`ScoreCam`](crate::ScoreCam).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScoreCamOptions {
    /// `probability` or `softmax-logit`.
    pub weights: ScoreWeights,
    /// Upsample the masks with corners aligned.
    pub align_corners: bool,
}

/// Settings of `guided-backprop`: see [`GuidedBackprop`](crate::GuidedBackprop).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuidedBackpropOptions {
    /// Guide the network's last ReLU too.
    pub guide_last_relu: bool,
}

impl Default for GuidedBackpropOptions {
    fn default() -> Self {
        Self { guide_last_relu: true }
    }
}

/// Settings of `integrated-gradients`: see [`IntegratedGradients`](crate::IntegratedGradients).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntegratedGradientsOptions {
    /// Nodes of the quadrature.
    pub steps: usize,
    /// The quadrature.
    pub rule: QuadratureRule,
    /// The baseline in normalised space.
    pub baseline: BaselineValues,
}

impl Default for IntegratedGradientsOptions {
    fn default() -> Self {
        Self { steps: 50, rule: QuadratureRule::default(), baseline: BaselineValues::One(0.0) }
    }
}

/// A baseline that a configuration can spell: one value, or one for each channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BaselineValues {
    /// `0.0`
    One(f64),
    /// `[-1.0, -1.0, -1.0]`
    PerChannel(Vec<f64>),
}

impl From<&BaselineValues> for Baseline {
    fn from(values: &BaselineValues) -> Self {
        match values {
            BaselineValues::One(value) => Self::Constant(*value),
            BaselineValues::PerChannel(values) => Self::PerChannel(values.clone()),
        }
    }
}

/// Settings of `smooth-grad`: see [`SmoothGrad`](crate::SmoothGrad).
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

/// Settings of `s-ib-map`: see [`SIbMap`](crate::SIbMap). Those that a network was trained with
/// give the map that its training looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SIbMapOptions {
    /// How R is computed.
    pub vjp: VjpConfig,
    /// How the mask is made from R.
    pub mask: MaskConfig,
}

impl MethodOptions {
    /// Sets one option from `key=value`; the value is read as TOML, or as a string where it is none.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown key or a value of the wrong kind; `self` is unchanged then.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(Error::invalid("method option", assignment, "key=value"));
        };
        let (key, value) = (key.trim(), value.trim());
        let refused =
            |reason: &dyn std::fmt::Display| Error::invalid(key, value, reason.to_string().trim());
        let mut table = toml::Table::try_from(&*self).map_err(|error| refused(&error))?;
        let mut path: Vec<&str> = key.split('.').collect();
        let name = path.pop().unwrap_or_default();
        let mut section = &mut table;
        for part in path {
            let entry =
                section.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            section = entry.as_table_mut().ok_or_else(|| refused(&"a key of one option"))?;
        }
        section.insert(name.to_owned(), parse_value(value));
        *self = table.try_into().map_err(|error: toml::de::Error| {
            let problem = error.message();
            let keys = if problem.contains("unknown field") { known_keys() } else { Vec::new() };
            match nearest::key(key, &keys) {
                Some(meant) => refused(&format!("{problem} (did you mean {meant}?)")),
                None => refused(&problem),
            }
        })?;
        Ok(())
    }
}

/// Every key of [`MethodOptions`], also of options that have no value by default.
fn known_keys() -> Vec<String> {
    fn collect(table: &toml::Table, before: &str, keys: &mut Vec<String>) {
        for (key, value) in table {
            match value {
                toml::Value::Table(inner) => collect(inner, &format!("{before}{key}."), keys),
                _ => keys.push(format!("{before}{key}")),
            }
        }
    }
    let mut options = MethodOptions { batch_size: Some(1), ..MethodOptions::default() };
    options.cam.layer = Some(String::new());
    options.s_ib_map.mask.window_px = Some(1);
    let mut keys = Vec::new();
    if let Ok(table) = toml::Table::try_from(options) {
        collect(&table, "", &mut keys);
    }
    keys
}

fn parse_value(text: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_the_one_that_may_be_meant() {
        for (key, meant) in [
            ("grad-cam.layer", "cam.layer"),
            ("layer-cam.layer", "cam.layer"),
            ("score-cam.weight", "score-cam.weights"),
            ("ig.steps", "integrated-gradients.steps"),
            ("s-ib-map.mask.window", "s-ib-map.mask.window_px"),
        ] {
            let message =
                MethodOptions::default().set(&format!("{key}=1")).unwrap_err().to_string();
            assert!(message.starts_with(key), "{message}");
            assert!(message.ends_with(&format!("(did you mean {meant}?)")), "{message}");
        }
        let message = MethodOptions::default().set("colour=1").unwrap_err().to_string();
        assert!(!message.contains("did you mean"), "{message}");
    }
}
