//! One update of a network: plain, with S-IB, and that with activation checkpointing.

use std::collections::BTreeMap;

use anyhow::Result;
use sib_core::device;
use sib_core::objective::SibConfig;
use sib_core::train::{Length, Precision, Trainer, UpdateConfig};
use sib_models::Model;
use tch::Device;

use super::Workload;
use super::inputs::{InputArguments, Inputs};

/// Names of the variants.
pub const VARIANTS: [&str; 3] = ["plain", "s-ib", CHECKPOINTED];
const CHECKPOINTED: &str = "s-ib-checkpointed";

/// Updates on one batch, over and over, by AdamW at the paper's settings.
#[derive(Debug)]
pub struct Steps<'m> {
    trainers: BTreeMap<&'static str, Trainer<'m>>,
    inputs: Inputs,
}

impl<'m> Steps<'m> {
    /// Networks for [`Self::new`], one a variant: `only` one of them, or both.
    ///
    /// # Errors
    /// When the weights cannot be read.
    pub fn models(
        arguments: &InputArguments,
        only: Option<&str>,
    ) -> Result<Vec<(&'static str, Model)>> {
        VARIANTS
            .into_iter()
            .filter(|variant| only.is_none_or(|only| only == *variant))
            .map(|variant| Ok((variant, arguments.model()?)))
            .collect()
    }

    /// Trainers of `models`, which compute in this precision by the fastest algorithms.
    ///
    /// # Errors
    /// When a model has nothing to train, or its device lacks the precision.
    pub fn new(
        models: &'m [(&'static str, Model)],
        inputs: Inputs,
        precision: Precision,
    ) -> Result<Self> {
        device::choose_algorithms(inputs.images.device(), false);
        let trainer = |(variant, model): &'m (&'static str, Model)| {
            let sib = (*variant != "plain").then(SibConfig::default);
            let checkpoint_blocks = *variant == CHECKPOINTED;
            let config = UpdateConfig { checkpoint_blocks, precision, ..UpdateConfig::default() };
            let length = Length { epochs: 1, steps_per_epoch: u64::MAX };
            let trainer = Trainer::new(model.backbone(), model.state_dict(), config, sib, length)?;
            Ok((*variant, trainer))
        };
        Ok(Self { trainers: models.iter().map(trainer).collect::<Result<_>>()?, inputs })
    }
}

impl Workload for Steps<'_> {
    fn device(&self) -> Device {
        self.inputs.images.device()
    }

    fn variants(&self) -> Vec<String> {
        let known = VARIANTS.into_iter().filter(|variant| self.trainers.contains_key(variant));
        known.map(str::to_owned).collect()
    }

    fn run(&mut self, variant: &str) -> Result<f64> {
        let trainer = self.trainers.get_mut(variant).expect("one of the variants");
        let Inputs { images, labels, .. } = &self.inputs;
        trainer.backward(images, labels)?;
        let measured = trainer.update()?.read();
        Ok(measured.iter().find(|(name, _)| *name == "loss").map_or(f64::NAN, |(_, loss)| *loss))
    }
}
