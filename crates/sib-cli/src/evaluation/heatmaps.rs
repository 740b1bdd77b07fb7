//! Where heatmaps come from.

use anyhow::Result;
use sib_core::{Backbone, Error};
use sib_explain::{Explainer, Method, MethodOptions};
use tch::{Kind, Tensor};

/// Heatmaps of a batch.
#[derive(Debug)]
pub struct Heatmaps {
    /// `[B,H,W]`; all NaN for an image that the method fails on.
    pub maps: Tensor,
    /// The method's own binary prediction `[B,H,W]`, bool, where it makes one.
    pub masks: Option<Tensor>,
}

/// An explainer by its name.
#[derive(Debug)]
pub struct HeatmapSource {
    method: Method,
    explainer: Box<dyn Explainer>,
}

impl HeatmapSource {
    /// The explainer called `method`.
    ///
    /// # Errors
    /// When an option is out of range.
    pub fn new(method: Method, options: &MethodOptions) -> Result<Self> {
        Ok(Self { method, explainer: method.build(options)? })
    }

    /// The name in files.
    pub fn name(&self) -> &str {
        self.method.name()
    }

    /// Heatmaps of `images` `[B,3,H,W]` for the logits of `targets` `[B]`.
    ///
    /// # Errors
    /// When the explainer cannot work on this network at all.
    pub fn of(&self, net: &dyn Backbone, images: &Tensor, targets: &Tensor) -> Result<Heatmaps> {
        let explain =
            |images: &Tensor, targets: &Tensor| self.explainer.explain(net, images, targets);
        let maps = match explain(images, targets) {
            // Which one it is shows when they are taken one by one; the others are fine.
            Err(Error::NonFinite { .. }) => {
                let size = images.size();
                let one = |i: i64| match explain(&images.narrow(0, i, 1), &targets.narrow(0, i, 1))
                {
                    Err(Error::NonFinite { .. }) => {
                        let shape = [1, size[2], size[3]];
                        Ok(Tensor::full(shape, f64::NAN, (Kind::Float, images.device())))
                    }
                    other => other,
                };
                let maps: Vec<Tensor> = (0..size[0]).map(one).collect::<Result<_, _>>()?;
                Tensor::cat(&maps, 0)
            }
            other => other?,
        };
        Ok(Heatmaps { maps, masks: None })
    }
}
