//! What a run trains, and on what: from its configuration to images and network.

use anyhow::Result;
use sib_core::data::{self, Loader, LoaderOptions, Split, Transform};
use sib_core::objective::SibConfig;
use sib_core::train::{self, Fit};
use sib_models::Model;

use super::batches::TrainingBatches;
use super::held_out;
use crate::checkpoint;
use crate::config::{Config, objective_of};
use crate::datasets::sha256;
use crate::error::usage;
use crate::note;
use crate::processes::Member;

/// A run that is ready to start: its images and its network.
#[derive(Debug)]
pub(super) struct Setup<'c> {
    pub(super) config: &'c Config,
    pub(super) train: TrainingBatches,
    /// Evaluated after an epoch: the validation split, where there is one, and the test split.
    pub(super) held_out: Vec<Loader>,
    pub(super) model: Model,
    /// The processes that train it.
    pub(super) member: &'c Member,
    /// SHA-256 of the training images' ids and labels, in their order.
    pub(super) training_images_sha256: String,
}

impl<'c> Setup<'c> {
    /// Opens the images and makes the network, freshly initialised.
    ///
    /// # Errors
    /// When a setting does not fit the images, or files cannot be read.
    pub(super) fn prepare(config: &'c Config, member: &'c Member) -> Result<Self> {
        let (data, train) = (&config.data, &config.train);
        let open = |split, limit: Option<usize>| -> Result<_> {
            let dataset = data::open(data.name, data.root()?, split, &data.options())?;
            Ok(match limit {
                Some(n) => dataset.limit(n),
                None => dataset,
            })
        };
        let Member { group, device, threads } = member;
        let device = *device;
        let options = LoaderOptions {
            batch_size: train.batch_size,
            seed: train.seed,
            workers: data.workers.or(*threads),
            cache_mib: data.cache_mib,
            device,
            ..LoaderOptions::default()
        };
        let dataset = open(Split::Train, data.limit_train)?;
        let sib = config.sib.as_ref().filter(|sib| sib.enabled);
        let annotation = sib.and_then(|sib| sib.mask.annotation());
        if let Some(kind) = annotation {
            dataset.expect_annotated(kind).map_err(|error| error.within("sib.mask"))?;
        }
        let images = Loader::new(
            dataset,
            data.train_transform()?,
            LoaderOptions {
                shuffle: true,
                // A last batch of one image has no batch statistics and no HSIC.
                drop_last: true,
                class_balanced: data.class_balanced,
                part_of_batch: group.part(),
                ground_truth: annotation,
                ..options.clone()
            },
        )
        .map_err(|error| error.within("train"))?;
        let train = TrainingBatches { images, mix: data.mix, group: group.clone() };
        let options = LoaderOptions { part_of_batches: group.part(), ..options };
        let mut held_out = Vec::new();
        let has_validation = data::splits(data.name, data.root()?)?.contains(&Split::Validation);
        let validation = has_validation.then_some((Split::Validation, data.limit_val));
        for (split, limit) in validation.into_iter().chain([(Split::Test, data.limit_test)]) {
            let transform = Transform::matching(&data.preprocessing)?;
            held_out.push(Loader::new(open(split, limit)?, transform, options.clone())?);
        }
        let classes = train.classes();
        let best_of = held_out::names(classes, config.train.log_information);
        if !best_of.contains(&config.train.best_metric) {
            return Err(usage(format!(
                "train.best_metric: got {}, expected one of {}",
                config.train.best_metric,
                best_of.join(", ")
            )));
        }
        tch::manual_seed(config.train.seed as i64);
        let model = Model::new(config.model.arch, classes as i64, device, &config.model.options)?;
        let training_images_sha256 = sha256(train.images.dataset());
        Ok(Self { config, train, held_out, model, member, training_images_sha256 })
    }

    /// Fills the network from `model.weights`, where the configuration names a file.
    ///
    /// # Errors
    /// When it cannot be read or is of another architecture.
    pub(super) fn load_initial_weights(&self) -> Result<()> {
        let Some(path) = &self.config.model.weights else { return Ok(()) };
        let path = checkpoint::file(path)?;
        let report = self.model.load_weights(&path)?;
        note!("initial weights: {}: {report}", path.display());
        Ok(())
    }

    /// The training, at its beginning.
    ///
    /// # Errors
    /// When a setting does not fit the images or the network.
    pub(super) fn fit(&self) -> Result<Fit<'_>> {
        let sib = self.objective().map_err(|error| error.within("sib"))?;
        let (config, variables) = (&self.config.train, self.model.state_dict());
        let head = self.model.arch().head();
        let net = self.model.backbone();
        let fit = || {
            if let Some(freeze) = &config.freeze {
                train::freeze(&variables, &freeze.prefixes(variables.keys(), head))?;
            }
            if let Some(factor) = config.head_lr_factor
                && !variables.iter().any(|(key, it)| key.starts_with(head) && it.requires_grad())
            {
                let expected = "a final layer that is trained";
                return Err(sib_core::Error::invalid("head_lr_factor", factor, expected));
            }
            Fit::new(net, self.model.state_dict(), &self.train, config.fit(head), sib)?
                .in_group(self.member.group.clone())
        };
        Ok(fit().map_err(|error| error.within("train"))?)
    }

    /// The objective, where it is S-IB's, of this network and these processes.
    fn objective(&self) -> sib_core::Result<Option<SibConfig>> {
        let Some(sib) = self.config.sib.as_ref().filter(|sib| sib.enabled) else { return Ok(None) };
        let processes = self.member.group.size() as u64;
        sib.check_batch(self.config.train.batch_size as u64, processes)?;
        let side_px = self.config.data.preprocessing.crop_px;
        objective_of(sib, self.model.arch(), side_px).map(Some)
    }

    /// The split that `best` and early stopping are chosen on: no other has been looked at by then.
    pub(super) fn chosen_on(&self) -> Split {
        self.held_out.first().map_or(Split::Test, |images| images.dataset().split)
    }
}
