//! One update of a network: plain, with S-IB, that with activation checkpointing, and S-IB by other settings.

use anyhow::{Result, bail};
use sib_core::device;
use sib_core::objective::SibConfig;
use sib_core::train::{Examples, Length, Precision, Trainer, UpdateConfig};
use sib_models::Model;
use tch::Device;

use super::Workload;
use super::candidate::Candidate;
use super::inputs::{InputArguments, Inputs};

/// Names of the variants that need no settings.
pub const VARIANTS: [&str; 3] = ["plain", "s-ib", "s-ib-checkpointed"];

/// One way to make an update.
#[derive(Debug)]
pub struct Variant {
    name: String,
    sib: Option<SibConfig>,
    checkpoint_blocks: bool,
    model: Model,
}

impl Variant {
    /// Those of [`VARIANTS`] and S-IB with the settings of each of `candidates`; of all these `only` one, where given.
    /// Each has a copy of the network.
    ///
    /// # Errors
    /// When there is no such variant, a setting does not fit the network, or the weights cannot be read.
    pub fn all(
        arguments: &InputArguments,
        inputs: &Inputs,
        candidates: &[Candidate],
        only: Option<&str>,
    ) -> Result<Vec<Self>> {
        let paper = SibConfig::default;
        let [plain, sib, checkpointed] = VARIANTS.map(str::to_owned);
        let mut ways = vec![
            (plain, None, false),
            (sib, Some(paper()), false),
            (checkpointed, Some(paper()), true),
        ];
        let size = inputs.images.size();
        for candidate in candidates {
            let sib = candidate.objective(&paper(), arguments.arch(), size[2])?;
            sib.check_batch(size[0] as u64, 1)?;
            ways.push((candidate.name().to_owned(), Some(sib), false));
        }
        if let Some(only) = only
            && ways.iter().all(|(name, ..)| name != only)
        {
            let names: Vec<&str> = ways.iter().map(|(name, ..)| &**name).collect();
            bail!("--only {only}: expected one of {}", names.join(", "));
        }
        let wanted = ways.into_iter().filter(|(name, ..)| only.is_none_or(|only| only == name));
        wanted
            .map(|(name, sib, checkpoint_blocks)| {
                Ok(Self { name, sib, checkpoint_blocks, model: arguments.model()? })
            })
            .collect()
    }
}

/// Updates on one batch, over and over, by AdamW at the paper's settings.
#[derive(Debug)]
pub struct Steps<'v> {
    trainers: Vec<(&'v Variant, Trainer<'v>)>,
    inputs: Inputs,
}

impl<'v> Steps<'v> {
    /// Trainers of `variants`, which compute in this precision by the fastest algorithms.
    ///
    /// # Errors
    /// When a model has nothing to train, or its device lacks the precision.
    pub fn new(variants: &'v [Variant], inputs: Inputs, precision: Precision) -> Result<Self> {
        device::choose_algorithms(inputs.images.device(), false);
        let trainer = |variant: &'v Variant| {
            let Variant { sib, checkpoint_blocks, model, .. } = variant;
            let config = UpdateConfig {
                checkpoint_blocks: *checkpoint_blocks,
                precision,
                ..UpdateConfig::default()
            };
            let length = Length { epochs: 1, steps_per_epoch: u64::MAX };
            let trainer =
                Trainer::new(model.backbone(), model.state_dict(), config, sib.clone(), length)?;
            Ok((variant, trainer))
        };
        Ok(Self { trainers: variants.iter().map(trainer).collect::<Result<_>>()?, inputs })
    }

    fn place(&self, variant: &str) -> usize {
        let place = self.trainers.iter().position(|(known, _)| known.name == variant);
        place.expect("one of the variants")
    }
}

impl Workload for Steps<'_> {
    fn device(&self) -> Device {
        self.inputs.images.device()
    }

    fn variants(&self) -> Vec<String> {
        self.trainers.iter().map(|(variant, _)| variant.name.clone()).collect()
    }

    /// As many updates as lie between two with the terms.
    fn times(&self, variant: &str) -> u64 {
        self.trainers[self.place(variant)].0.sib.as_ref().map_or(1, |sib| sib.every)
    }

    fn run(&mut self, variant: &str) -> Result<f64> {
        let (times, place) = (self.times(variant), self.place(variant));
        let trainer = &mut self.trainers[place].1;
        let Inputs { images, labels, .. } = &self.inputs;
        let examples = Examples::new(images.shallow_clone(), labels.shallow_clone());
        let mut loss = f64::NAN;
        for _ in 0..times {
            trainer.backward(&examples)?;
            let measured = trainer.update()?.read();
            loss =
                measured.iter().find(|(name, _)| *name == "loss").map_or(f64::NAN, |(_, it)| *it);
        }
        Ok(loss)
    }
}
