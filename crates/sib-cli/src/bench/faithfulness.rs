//! Insertion and deletion curves of a batch.

use std::collections::BTreeMap;

use anyhow::Result;
use sib_core::Backbone;
use sib_metrics::faithfulness::{Protocol, faithfulness};
use tch::{Device, Tensor};

use super::Workload;
use super::inputs::Inputs;

/// Both curves of each image.
#[derive(Debug)]
pub struct Curves {
    network: Box<dyn Backbone>,
    protocol: Protocol,
    inputs: Inputs,
    /// Insertion and deletion of each image.
    areas: Vec<f64>,
}

impl Curves {
    /// By `protocol` on the inference form `network`.
    pub fn new(network: Box<dyn Backbone>, protocol: Protocol, inputs: Inputs) -> Self {
        Self { network, protocol, inputs, areas: Vec::new() }
    }
}

impl Workload for Curves {
    fn device(&self) -> Device {
        self.inputs.images.device()
    }

    fn variants(&self) -> Vec<String> {
        vec!["insertion-deletion".to_owned()]
    }

    fn run(&mut self, _: &str) -> Result<f64> {
        let Inputs { images, heatmaps, .. } = &self.inputs;
        let curves = faithfulness(self.network.as_ref(), images, heatmaps, &self.protocol)?;
        self.areas = curves
            .into_iter()
            .flatten()
            .flat_map(|curves| [curves.insertion.auc(), curves.deletion.auc()])
            .collect();
        Ok(self.areas.iter().sum::<f64>() / self.areas.len() as f64)
    }

    fn outputs(&self) -> BTreeMap<String, Tensor> {
        let areas = Tensor::from_slice(&self.areas).reshape([-1, 2]);
        BTreeMap::from([("auc".to_owned(), areas)])
    }
}
