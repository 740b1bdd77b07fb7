//! What must be known of an architecture before it is built: its entry stands beside its code.

use sib_core::{Error, Result};
use tch::Tensor;
use tch::nn::Path;

use crate::{ModelOptions, Network};

/// An architecture.
pub(crate) struct Spec {
    /// torchvision's name of it: in configurations, in checkpoints and on the command line.
    pub(crate) name: &'static str,
    /// The name in tables and figures.
    pub(crate) title: &'static str,
    /// Names of the feature maps that a probe sees, in the order of the forward pass.
    pub(crate) taps: &'static [&'static str],
    /// Of these, the ends of four stages, at a 4th, 8th, 16th and 32nd of the image's side where they shrink.
    pub(crate) stages: [&'static str; 4],
    /// Of the taps, the one that is averaged over its places at once.
    pub(crate) averaged: Option<&'static str>,
    /// Prefixes of the last stage's tensors.
    pub(crate) last_stage: &'static [&'static str],
    /// Prefix of the final linear layer's `weight` and `bias`.
    pub(crate) head: &'static str,
    /// The image sizes that it takes.
    pub(crate) sides: Sides,
    /// What torchvision sets [`ModelOptions::dropout`] to; `None` where there is no dropout.
    pub(crate) dropout: Option<f64>,
    /// The same of [`ModelOptions::attention_dropout`].
    pub(crate) attention_dropout: Option<f64>,
    /// How the keys of other releases and libraries are spelt here.
    pub(crate) renames: Renames,
    /// Tensors that come in other shapes and can be made to fit.
    pub(crate) adapted: &'static [Adapted],
    /// The network, its variables freshly initialised.
    pub(crate) build: Build,
}

impl Spec {
    /// Checks that the probabilities are in `[0,1)` and that the architecture has a use for them.
    pub(crate) fn check_options(&self, options: &ModelOptions) -> Result<()> {
        for (key, value, usual) in [
            ("dropout", options.dropout, self.dropout),
            ("attention_dropout", options.attention_dropout, self.attention_dropout),
        ] {
            if value != 0.0 && usual.is_none() {
                return Err(Error::invalid(key, value, format!("0: {} has none", self.name)));
            }
            if !(0.0..1.0).contains(&value) {
                return Err(Error::invalid(key, value, "a probability in [0, 1)"));
            }
        }
        Ok(())
    }
}

/// Builds a network under a path, with so many classes.
pub(crate) type Build = fn(&Path, i64, &ModelOptions) -> Box<dyn Network>;

/// Parts of keys and what they are called here, replaced in this order; a key must begin with a
/// part whose first character is `^`.
pub(crate) type Renames = &'static [(&'static str, &'static str)];

/// The heights and widths that images may have, in pixels.
pub(crate) struct Sides {
    pub(crate) least: i64,
    pub(crate) multiple_of: i64,
}

impl Sides {
    /// Any from `least` on.
    pub(crate) const fn from(least: i64) -> Self {
        Self { least, multiple_of: 1 }
    }

    /// Multiples of `patch`.
    pub(crate) const fn multiples_of(patch: i64) -> Self {
        Self { least: patch, multiple_of: patch }
    }

    /// Checks the size of images for the architecture `name`.
    pub(crate) fn check(&self, height_px: i64, width_px: i64, name: &str) -> Result<()> {
        let Self { least, multiple_of } = *self;
        let fits = |side: i64| side >= least && side % multiple_of == 0;
        if fits(height_px) && fits(width_px) {
            return Ok(());
        }
        let expected = if multiple_of > 1 {
            format!("multiples of {multiple_of} px for {name}")
        } else {
            format!("at least {least}x{least} px for {name}")
        };
        Err(Error::invalid("image size", format_args!("{height_px}x{width_px} px"), expected))
    }
}

/// A tensor that comes in other shapes.
pub(crate) struct Adapted {
    /// State-dict key.
    pub(crate) name: &'static str,
    /// Whether a tensor of the first shape can be made one of the second.
    pub(crate) fits: fn(&[i64], &[i64]) -> bool,
    /// Makes it so.
    pub(crate) adapt: fn(&Tensor, &[i64]) -> Tensor,
}
