//! Training: a configuration to images and network, and from there to a finished run folder.

pub mod best;
pub mod held_out;
pub mod resume;
mod running;
pub mod tensorboard;

use anyhow::Result;
use sha2::{Digest, Sha256};
use sib_core::data::{self, Dataset, Loader, LoaderOptions, Split, Transform};
use sib_models::Model;
use tch::Device;

use crate::checkpoint;
use crate::config::Config;
use crate::error::usage;
use crate::note;
use crate::run_dir::RunDir;
use running::Running;

/// A run that is ready to start: its images and its network.
#[derive(Debug)]
pub struct Session<'c> {
    config: &'c Config,
    device: Device,
    train: Loader,
    /// Evaluated after an epoch: the validation split, where there is one, and the test split.
    held_out: Vec<Loader>,
    model: Model,
    /// Takes the moving average, where one is kept: the network that is evaluated.
    averaged: Option<Model>,
    /// SHA-256 of the training images' ids and labels, in their order.
    images_sha256: String,
}

impl<'c> Session<'c> {
    /// Opens the images and makes the network, freshly initialised.
    ///
    /// # Errors
    /// When a setting does not fit the images, or files cannot be read.
    pub fn prepare(config: &'c Config, device: Device) -> Result<Self> {
        let (data, train) = (&config.data, &config.train);
        let open = |split, limit: Option<usize>| -> Result<_> {
            let dataset = data::open(data.name, data.root()?, split, &data.options())?;
            Ok(match limit {
                Some(n) => dataset.limit(n),
                None => dataset,
            })
        };
        let options = LoaderOptions {
            batch_size: train.batch_size,
            seed: train.seed,
            workers: data.workers,
            cache_mib: data.cache_mib,
            ..LoaderOptions::default()
        };
        let batches_an_update = train.accumulate_batches;
        let train = Loader::new(
            open(Split::Train, data.limit_train)?,
            data.train_transform()?,
            LoaderOptions {
                shuffle: true,
                // A last batch of one image has no batch statistics and no HSIC.
                drop_last: true,
                class_balanced: data.class_balanced,
                ..options.clone()
            },
        )?;
        if (train.batches_per_epoch() as u64) < batches_an_update {
            return Err(usage(format!(
                "train.accumulate_batches: got {batches_an_update}, expected at most the {} batches \
                 of an epoch",
                train.batches_per_epoch()
            )));
        }
        let mut held_out = Vec::new();
        let has_validation = data::splits(data.name, data.root()?)?.contains(&Split::Validation);
        let validation = has_validation.then_some((Split::Validation, data.limit_val));
        for (split, limit) in validation.into_iter().chain([(Split::Test, data.limit_test)]) {
            let transform = Transform::matching(&data.preprocessing)?;
            held_out.push(Loader::new(open(split, limit)?, transform, options.clone())?);
        }
        let classes = train.dataset().classes.len();
        let best_of = held_out::names(classes, config.train.log_information);
        if !best_of.contains(&config.train.best_metric) {
            return Err(usage(format!(
                "train.best_metric: got {}, expected one of {}",
                config.train.best_metric,
                best_of.join(", ")
            )));
        }
        tch::manual_seed(config.train.seed as i64);
        let new = || Model::new(config.model.arch, classes as i64, device, &config.model.options);
        let model = new()?;
        let averaged = config.train.ema_decay.map(|_| new()).transpose()?;
        let images_sha256 = images_sha256(train.dataset());
        Ok(Self { config, device, train, held_out, model, averaged, images_sha256 })
    }

    /// Fills the network from `model.weights`, where the configuration names a file.
    ///
    /// # Errors
    /// When it cannot be read or is of another architecture.
    pub fn load_initial_weights(&self) -> Result<()> {
        let Some(path) = &self.config.model.weights else { return Ok(()) };
        let path = checkpoint::file(path)?;
        let report = self.model.load_weights(&path)?;
        note!("initial weights: {}: {report}", path.display());
        Ok(())
    }

    /// Trains in the folder `run` to the end of the configuration, or until its time limit.
    ///
    /// # Errors
    /// When a file cannot be read or written, or a loss is not finite.
    pub fn train(&self, run: &RunDir) -> Result<()> {
        self.say_what_is_used();
        Running::start(self, run)?.run()
    }

    /// The split that `best` and early stopping are chosen on: no other has been looked at by then.
    fn chosen_on(&self) -> Split {
        self.held_out.first().map_or(Split::Test, |images| images.dataset().split)
    }

    /// What a user should know of the images, and of what the best checkpoint is best at.
    fn say_what_is_used(&self) {
        for images in [&self.train].into_iter().chain(&self.held_out) {
            images.dataset().remarks().iter().for_each(|remark| note!("{remark}"));
        }
        match self.chosen_on() {
            Split::Validation => note!("best.safetensors is chosen on the validation split"),
            _ => note!(
                "no validation split: best.safetensors is chosen on test, whose accuracy it then \
                 overstates"
            ),
        }
    }

    /// Updates an epoch. Batches that do not fill an update are left out.
    fn steps_per_epoch(&self) -> u64 {
        self.train.batches_per_epoch() as u64 / self.config.train.accumulate_batches
    }
}

fn images_sha256(dataset: &Dataset) -> String {
    let mut digest = Sha256::new();
    for record in &dataset.records {
        digest.update(format!("{}\t{}\n", record.id, record.label));
    }
    format!("{:x}", digest.finalize())
}
