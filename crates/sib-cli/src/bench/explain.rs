//! Heatmaps of a batch by one method.

use std::collections::BTreeMap;

use anyhow::Result;
use sib_core::Backbone;
use sib_explain::{Explainer, Method, MethodOptions, Target};
use tch::{Device, Kind, Tensor};

use super::Workload;
use super::inputs::Inputs;

/// One method on one batch.
#[derive(Debug)]
pub struct Explanations {
    network: Box<dyn Backbone>,
    method: Method,
    explainer: Box<dyn Explainer>,
    inputs: Inputs,
    heatmaps: Option<Tensor>,
}

impl Explanations {
    /// `method` with `options` on the inference form `network`.
    ///
    /// # Errors
    /// When an option is out of range.
    pub fn new(
        network: Box<dyn Backbone>,
        method: Method,
        options: &MethodOptions,
        inputs: Inputs,
    ) -> Result<Self> {
        let explainer = method.build(options)?;
        Ok(Self { network, method, explainer, inputs, heatmaps: None })
    }
}

impl Workload for Explanations {
    fn device(&self) -> Device {
        self.inputs.images.device()
    }

    fn variants(&self) -> Vec<String> {
        vec![self.method.name().to_owned()]
    }

    fn run(&mut self, _: &str) -> Result<f64> {
        let Inputs { images, labels, .. } = &self.inputs;
        let heatmaps =
            self.explainer.explain(self.network.as_ref(), images, &Target::class(labels))?;
        let mean = heatmaps.mean(Kind::Double).double_value(&[]);
        self.heatmaps = Some(heatmaps);
        Ok(mean)
    }

    fn outputs(&self) -> BTreeMap<String, Tensor> {
        let heatmaps = self.heatmaps.iter().map(Tensor::shallow_clone);
        heatmaps.map(|heatmaps| ("heatmaps".to_owned(), heatmaps)).collect()
    }
}
