//! The map that S-IB itself makes of an image: where the vector-Jacobian product is dense.

use serde::{Deserialize, Serialize};
use sib_core::objective::{At, Mask, MaskConfig, MaskOrigin, Measure, VjpConfig, unit_scale};
use sib_core::{Backbone, Error, Mode, Result};
use tch::Tensor;

use crate::explainer::{Explainer, in_chunks};
use crate::input::checked_count;
use crate::spec::Spec;
use crate::target::Target;

pub(crate) const SPEC: Spec = Spec { name: "s-ib-map", title: "S-IB map", batch_size: 16 };

/// Settings of `s-ib-map`: see [`SIbMap`]. Those that a network was trained with
/// give the map that its training looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SIbMapOptions {
    /// How R is computed.
    pub vjp: VjpConfig,
    /// How the mask is made from R.
    pub mask: MaskConfig,
}

/// The density map d that the mask head makes of R = Jᵀp (section 3.3 of the paper), with the
/// network in evaluation mode.
///
/// p weighs all classes, so the map explains the whole posterior and is the same for every target.
/// Only the direction of R counts (decision C3); where R has none, as for a posterior that is one-hot
/// (decision N7), there is no map: density and mask are 0 everywhere.
#[derive(Debug, Clone)]
pub struct SIbMap {
    /// How R is computed.
    pub vjp: VjpConfig,
    /// How density and mask are made from R.
    pub mask: MaskConfig,
    /// Images in one forward pass.
    pub batch_size: i64,
}

/// What [`SIbMap`] makes of a batch of images.
#[derive(Debug)]
pub struct SIbMaps {
    /// R `[B,3,H,W]`.
    pub vjp: Tensor,
    /// Density map d `[B,H,W]` in `[0, 1]`, which is the heatmap.
    pub density: Tensor,
    /// Soft mask M `[B,H,W]` in `(0, 1)`; above 0.5 on the foreground.
    pub mask: Tensor,
    /// Whether R has a direction: bool `[B]`. Where not, there is no map.
    pub directed: Tensor,
}

impl SIbMap {
    /// The map with these options, of at most `batch_size` images in one forward pass.
    ///
    /// # Errors
    /// [`Error::Invalid`] for options out of range.
    pub fn new(options: &SIbMapOptions, batch_size: i64) -> Result<Self> {
        let SIbMapOptions { vjp, mask } = options.clone();
        vjp.validate().map_err(|error| error.within("s-ib-map.vjp"))?;
        if vjp.at != At::Image {
            let expected = "image: the map is one of pixels";
            return Err(Error::invalid("s-ib-map.vjp.at", vjp.at, expected));
        }
        mask.validate().map_err(|error| error.within("s-ib-map.mask"))?;
        if mask.source != MaskOrigin::Network {
            let expected = "network: the map is one of R";
            return Err(Error::invalid("s-ib-map.mask.source", mask.source, expected));
        }
        if vjp.measure != Measure::Gradient {
            let expected = "gradient: the map is one of R";
            return Err(Error::invalid("s-ib-map.vjp.measure", "contribution", expected));
        }
        if mask.shuffled {
            let expected = "false: the map is the image's own";
            return Err(Error::invalid("s-ib-map.mask.shuffled", true, expected));
        }
        Ok(Self { vjp, mask, batch_size })
    }

    /// R, density and mask of `images` `[B,3,H,W]` by the same passes; not checked for values that
    /// are not finite.
    ///
    /// # Errors
    /// [`Error::Shape`] for images of another shape, [`Error::Invalid`] for a network of one class.
    pub fn maps(&self, model: &dyn Backbone, images: &Tensor) -> Result<SIbMaps> {
        checked_count(images)?;
        let rows = self.batch_size.max(1);
        let (mut vjps, mut directed) = (Vec::new(), Vec::new());
        for chunk in images.split(rows, 0) {
            let (logits, vjp) = self.vjp(model, &chunk)?;
            directed.push(self.vjp.is_directed(&vjp, &logits));
            vjps.push(vjp.detach());
        }
        let (vjp, directed) = (Tensor::cat(&vjps, 0), Tensor::cat(&directed, 0));
        let Mask { density, mask } = self.split(&vjp, &directed)?;
        Ok(SIbMaps { vjp, density: density.squeeze_dim(1), mask: mask.squeeze_dim(1), directed })
    }

    /// The soft mask M `[B,H,W]` that belongs to the density map; above 0.5 on the foreground.
    ///
    /// # Errors
    /// As [`Explainer::explain`].
    pub fn mask(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        in_chunks(self.batch_size, images, target, |images, target| {
            Ok(self.apply(model, images, target)?.mask.squeeze_dim(1))
        })
    }

    fn apply(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Mask> {
        let (logits, vjp) = self.vjp(model, images)?;
        // The map needs no target, but one that is no class is a mistake here as elsewhere.
        let _ = target.scores(&logits)?;
        self.split(&vjp, &self.vjp.is_directed(&vjp, &logits))
    }

    /// Density and mask of R `[B,3,H,W]`, 0 where R is not `directed` `[B]`.
    fn split(&self, vjp: &Tensor, directed: &Tensor) -> Result<Mask> {
        let Mask { density, mask } = self.mask.apply(&unit_scale(vjp))?;
        let directed = directed.view([-1, 1, 1, 1]);
        let where_directed = |map: Tensor| map.where_self(&directed, &map.zeros_like());
        Ok(Mask { density: where_directed(density), mask: where_directed(mask) })
    }

    /// Logits and R of one chunk.
    fn vjp(&self, model: &dyn Backbone, images: &Tensor) -> Result<(Tensor, Tensor)> {
        tch::with_grad(|| {
            let leaf = images.detach().set_requires_grad(true);
            let logits = model.forward(&leaf, Mode::Eval);
            let vjp = self.vjp.vjp(&leaf, &logits, false)?;
            Ok((logits, vjp))
        })
    }
}

impl Explainer for SIbMap {
    fn explain(&self, model: &dyn Backbone, images: &Tensor, target: &Target) -> Result<Tensor> {
        in_chunks(self.batch_size, images, target, |images, target| {
            Ok(self.apply(model, images, target)?.density.squeeze_dim(1))
        })
    }
}
