//! One training step, plain or with S-IB, and all the state that must survive an interruption.

mod balance;
mod optimizer;
mod schedule;

pub use optimizer::{Optimizer, OptimizerConfig, OptimizerKind, global_norm};
pub use schedule::{ScheduleConfig, ScheduleKind};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::objective::{Lambdas, SibConfig, Terms, Weights, cross_entropy, mean_norm};
use crate::{Backbone, Error, Mode, Result};
use balance::Balance;

/// Settings of training; the defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training split.
    pub epochs: u64,
    /// Images a step; at least 2 with S-IB, whose HSIC compares the images of a batch.
    pub batch_size: usize,
    /// Of the initial weights, the order of the images and their augmentation.
    pub seed: u64,
    /// Label smoothing of cross-entropy, in `[0, 1)`.
    pub label_smoothing: f64,
    /// Largest Euclidean norm of the whole gradient; longer ones are shortened. Unset: no limit.
    pub clip_norm: Option<f64>,
    /// Update rule.
    pub optimizer: OptimizerConfig,
    /// Learning-rate schedule.
    pub schedule: ScheduleConfig,
    /// Log every k-th step; at least 1.
    pub log_every_steps: u64,
    /// Log the gradient norm of each term every k-th step (three more backward passes); 0: never.
    pub log_gradient_norms: u64,
    /// With each evaluation, log the information between regions of image and R on the test split
    /// (Fig. 1a of the paper); costs one backward pass a batch.
    pub log_information: bool,
    /// Evaluate top-1 and top-5 on the test split every k-th epoch and after the last; at least 1.
    pub evaluate_every_epochs: u64,
    /// Save `last` this often within an epoch too, in minutes; it is saved after every epoch anyway.
    pub checkpoint_every_minutes: f64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 90,
            batch_size: 64,
            seed: 43,
            label_smoothing: 0.0,
            clip_norm: None,
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
            log_every_steps: 1,
            log_gradient_norms: 0,
            log_information: false,
            evaluate_every_epochs: 1,
            checkpoint_every_minutes: 10.0,
        }
    }
}

impl TrainConfig {
    /// Checks the settings' ranges; `prefix` names the table they stand in.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key.
    pub fn validate(&self, prefix: &str) -> Result<()> {
        for (key, value) in [
            ("epochs", self.epochs),
            ("batch_size", self.batch_size as u64),
            ("log_every_steps", self.log_every_steps),
            ("evaluate_every_epochs", self.evaluate_every_epochs),
        ] {
            if value == 0 {
                return Err(Error::invalid(format!("{prefix}.{key}"), value, "at least 1"));
            }
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let key = format!("{prefix}.label_smoothing");
            return Err(Error::invalid(key, self.label_smoothing, "a number in [0, 1)"));
        }
        if let Some(norm) = self.clip_norm
            && !(norm > 0.0 && norm.is_finite())
        {
            return Err(Error::invalid(format!("{prefix}.clip_norm"), norm, "a number above 0"));
        }
        let minutes = self.checkpoint_every_minutes;
        if minutes.is_nan() || minutes <= 0.0 {
            let key = format!("{prefix}.checkpoint_every_minutes");
            return Err(Error::invalid(key, minutes, "a number above 0"));
        }
        self.optimizer.validate(&format!("{prefix}.optimizer"))?;
        self.schedule.validate(&format!("{prefix}.schedule"))
    }
}

/// What a step measured, in the order of the log: name and value.
pub type Measurements = Vec<(&'static str, f64)>;

/// A network in training.
#[derive(Debug)]
pub struct Trainer<'a> {
    net: &'a dyn Backbone,
    config: TrainConfig,
    sib: Option<SibConfig>,
    steps_per_epoch: u64,
    optimizer: Optimizer,
    balance: Balance,
}

impl<'a> Trainer<'a> {
    /// A trainer of `net`, whose trainable variables are `parameters` by state-dict key. Without
    /// `sib`, or while that is not enabled, it trains on cross-entropy alone.
    pub fn new(
        net: &'a dyn Backbone,
        parameters: BTreeMap<String, Tensor>,
        config: TrainConfig,
        sib: Option<SibConfig>,
        steps_per_epoch: u64,
    ) -> Self {
        let optimizer = Optimizer::new(parameters, config.optimizer.clone());
        let sib = sib.filter(|sib| sib.enabled);
        Self { net, config, sib, steps_per_epoch, optimizer, balance: Balance::default() }
    }

    /// Updates made so far.
    pub fn steps(&self) -> u64 {
        self.optimizer.steps()
    }

    /// One update on `images` `[B,3,H,W]` (normalised) with classes `labels` `[B]`.
    ///
    /// # Errors
    /// [`Error::NonFinite`] naming the terms, before any weight has changed; whatever
    /// [`SibConfig::terms`] refuses.
    pub fn step(&mut self, images: &Tensor, labels: &Tensor) -> Result<Measurements> {
        let step = self.steps();
        let epoch = step / self.steps_per_epoch;
        let cross_entropy =
            |logits: &Tensor| cross_entropy(logits, labels, self.config.label_smoothing);
        let sib = self
            .sib
            .clone()
            .filter(|sib| epoch >= sib.start_epoch && step.is_multiple_of(sib.every));

        let mut measured = Measurements::new();
        let loss = match &sib {
            None => {
                let logits = self.net.forward(images, Mode::Train);
                let loss = cross_entropy(&logits);
                let values = [("loss", &loss), ("top1", &top1(&logits, labels))];
                measured.extend(values_of(values));
                loss
            }
            Some(sib) => {
                let terms = sib.terms(self.net, images, Mode::Train, cross_entropy)?;
                let lambdas = self.lambdas(sib, &terms, step, &mut measured)?;
                let loss = &terms.cross_entropy + sib.information_bottleneck(&terms, lambdas);
                let values = [
                    ("loss", &loss),
                    ("top1", &top1(&terms.logits, labels)),
                    ("cross_entropy", &terms.cross_entropy),
                    ("foreground", &terms.foreground),
                    ("background", &terms.background),
                    ("hsic", &-&terms.foreground),
                    ("vjp_norm", &mean_norm(&terms.vjp)),
                    ("mask_mean", &terms.mask.mean(None::<Kind>)),
                ];
                measured.extend(values_of(values));
                loss
            }
        };
        if measured.iter().any(|(_, value)| !value.is_finite()) {
            let values: Vec<_> = measured.iter().map(|(name, v)| format!("{name} {v}")).collect();
            let what = format!("the loss of step {step} ({})", values.join(", "));
            return Err(Error::NonFinite { what });
        }

        let mut gradients =
            Tensor::f_run_backward(&[loss], &self.optimizer.parameters(), false, false)?;
        if let Some(longest) = self.config.clip_norm {
            let norm = global_norm(&gradients);
            measured.push(("gradient_norm", norm));
            if norm > longest {
                let shorten = |g: &mut Tensor| g.defined().then(|| g.g_mul_scalar_(longest / norm));
                tch::no_grad(|| gradients.iter_mut().for_each(|g| drop(shorten(g))));
            }
        }
        let factor = self.config.schedule.factor(step, self.steps_per_epoch, self.config.epochs);
        self.optimizer.step(&gradients, factor);
        measured.push(("learning_rate", self.config.optimizer.learning_rate * factor));
        Ok(measured)
    }

    /// The weights of the two terms at this step, with the norms measured on the way.
    fn lambdas(
        &mut self,
        sib: &SibConfig,
        terms: &Terms,
        step: u64,
        measured: &mut Measurements,
    ) -> Result<Lambdas> {
        let due = |every: u64| every > 0 && (step / sib.every).is_multiple_of(every);
        let shared = sib.weights == Weights::GradientShare;
        let balance_due = shared && due(sib.gradient_share.every_steps);
        if balance_due || due(self.config.log_gradient_norms) {
            let [cross_entropy, background, foreground] =
                self.term_norms([&terms.cross_entropy, &terms.background, &terms.foreground])?;
            measured.extend([
                ("gradient_norm_cross_entropy", cross_entropy),
                ("gradient_norm_background", background),
                ("gradient_norm_foreground", foreground),
            ]);
            if balance_due {
                let momentum = sib.gradient_share.momentum;
                self.balance.update(momentum, cross_entropy, background, foreground);
            }
        }
        let lambdas =
            if shared { self.balance.lambdas(&sib.gradient_share) } else { sib.lambdas() };
        if shared {
            measured.push(("lambda_bg", lambdas.background));
            measured.push(("lambda_fg", lambdas.foreground));
        }
        // Lazy regularisation keeps its average strength (Karras et al. 2020, arXiv:1912.04958).
        let every = sib.every as f64;
        Ok(Lambdas {
            background: lambdas.background * every,
            foreground: lambdas.foreground * every,
        })
    }

    /// Euclidean norms of the terms' gradients with respect to all parameters.
    fn term_norms<const N: usize>(&self, terms: [&Tensor; N]) -> Result<[f64; N]> {
        let mut norms = [0.0; N];
        for (norm, term) in norms.iter_mut().zip(terms) {
            let parameters = self.optimizer.parameters();
            *norm = global_norm(&Tensor::f_run_backward(&[term], &parameters, true, false)?);
        }
        Ok(norms)
    }

    /// What must be saved besides the network's own variables: tensors and text.
    pub fn state(&self) -> (BTreeMap<String, Tensor>, BTreeMap<String, String>) {
        let mut text = self.balance.state();
        text.insert("steps".to_owned(), self.steps().to_string());
        (self.optimizer.state(), text)
    }

    /// Restores what [`Self::state`] gave: training goes on as if never stopped.
    ///
    /// # Errors
    /// When something is missing or of another shape.
    pub fn restore(
        &mut self,
        tensors: &BTreeMap<String, Tensor>,
        text: &BTreeMap<String, String>,
    ) -> Result<()> {
        let steps = text.get("steps").map_or("none", String::as_str);
        let steps = steps.parse().map_err(|_| {
            Error::invalid("training state, steps", steps, "the number of updates made")
        })?;
        self.balance = Balance::from_state(text)?;
        self.optimizer.restore(tensors, steps)
    }
}

/// Share of `logits` `[B,K]` whose largest is at the label: a scalar in `[0, 1]`.
fn top1(logits: &Tensor, labels: &Tensor) -> Tensor {
    logits.argmax(-1, false).eq_tensor(labels).to_kind(Kind::Float).mean(None::<Kind>)
}

/// The named scalars in one transfer from their device.
fn values_of<const N: usize>(named: [(&'static str, &Tensor); N]) -> Measurements {
    let scalars = named.map(|(_, scalar)| scalar.detach().to_kind(Kind::Double));
    let values = Vec::<f64>::try_from(Tensor::stack(&scalars, 0)).expect("a vector of f64");
    named.into_iter().map(|(name, _)| name).zip(values).collect()
}
