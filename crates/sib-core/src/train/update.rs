//! One update of a network, plain or with S-IB, and all the state of it that must survive an interruption.

use std::collections::BTreeMap;

use rand::Rng;
use tch::{Device, Kind, Tensor};

use super::average::WeightAverage;
use super::balance::Balance;
use super::guard::{GRADIENT_NORM, Guard, non_finite};
use super::optimizer::{defined, global_norm};
use super::{Examples, Held, Length, Measurements, Optimizer, UpdateConfig, parameters};
use crate::group::{self, Group, Spread};
use crate::objective::{Input, Lambdas, SibConfig, Terms, Weights, cross_entropy, mean_norm};
use crate::random::{Use, stream};
use crate::tensor::{for_convolutions, sent};
use crate::{Backbone, Error, Probe, Result, checkpoint, native, recompute};

/// What must be saved of a training besides the network's variables for it to go on later.
#[derive(Debug, Default)]
pub struct State {
    /// Of the optimizer, and the average where one is kept.
    pub tensors: BTreeMap<String, Tensor>,
    /// Numbers, as text that parses back to the same bits.
    pub text: BTreeMap<String, String>,
}

/// A network in training.
///
/// An update is [`Self::backward`] for each of its batches, then [`Self::update`]; [`Fit`](super::Fit) is
/// the loop around them.
#[derive(Debug)]
pub struct Trainer<'a> {
    net: &'a dyn Backbone,
    variables: BTreeMap<String, Tensor>,
    config: UpdateConfig,
    sib: Option<SibConfig>,
    length: Length,
    optimizer: Optimizer,
    balance: Balance,
    average: Option<WeightAverage>,
    guard: Guard,
    pending: Pending,
    group: Group,
}

/// The batches of an update so far.
#[derive(Debug, Default)]
struct Pending {
    batches: u64,
    /// Sums over the batches, in the optimizer's order.
    gradients: Vec<Tensor>,
    /// Sums over the batches.
    measured: Measurements,
}

/// Marks the average's tensors in [`Trainer::state`].
const AVERAGE: &str = "average.";
const STEPS: &str = "steps";

impl<'a> Trainer<'a> {
    /// A trainer of `net`, whose `variables` (not copies) are given by state-dict key; those that
    /// require a gradient are trained. Without `sib`, or while that is not enabled, it trains on
    /// cross-entropy alone. The learning rate and the start of S-IB follow from `length`.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the setting that is out of range, or where no variable requires a gradient.
    pub fn new(
        net: &'a dyn Backbone,
        variables: BTreeMap<String, Tensor>,
        config: UpdateConfig,
        sib: Option<SibConfig>,
        length: Length,
    ) -> Result<Self> {
        config.validate()?;
        length.validate()?;
        let sib = sib.filter(|sib| sib.enabled);
        sib.as_ref().map_or(Ok(()), SibConfig::validate).map_err(|error| error.within("sib"))?;
        let trained = variables.iter().filter(|(_, variable)| variable.requires_grad());
        let trained: BTreeMap<_, _> =
            trained.map(|(name, variable)| (name.clone(), variable.shallow_clone())).collect();
        if trained.is_empty() {
            let got = format!("{} without gradient", variables.len());
            return Err(Error::invalid("variables", got, "one to train"));
        }
        for prefix in config.learning_rate_factors.keys() {
            parameters::expect_known("learning_rate_factors", prefix, trained.keys())?;
        }
        let factor_of = |key: &str| parameters::factor(&config.learning_rate_factors, key);
        let optimizer = Optimizer::new(trained, config.optimizer.clone(), factor_of);
        config.precision.validate(optimizer.device())?;
        let averaged =
            || variables.iter().map(|(name, it)| (name.clone(), it.shallow_clone())).collect();
        let average = config.ema_decay.map(|decay| WeightAverage::new(averaged(), decay));
        Ok(Self {
            net,
            variables,
            config,
            sib,
            length,
            optimizer,
            balance: Balance::default(),
            average,
            guard: Guard::default(),
            pending: Pending::default(),
            group: Group::alone(),
        })
    }

    /// The same as a member of `group`: batches are its part of theirs, all members make the same update. It starts
    /// with the first member's variables, all of which must be among those given to [`Self::new`].
    ///
    /// # Errors
    /// [`Error::Group`] where another member does not take part.
    pub fn in_group(mut self, group: Group) -> Result<Self> {
        let averages = self.average.iter().flat_map(|average| average.state().values());
        group.broadcast(&self.variables.values().chain(averages).collect::<Vec<_>>())?;
        self.group = group;
        Ok(self)
    }

    /// The group that it is a member of.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Gives all members the first one's running statistics, where each has its own
    /// ([`UpdateConfig::sync_batch_norm`]).
    ///
    /// # Errors
    /// [`Error::Group`] where another member does not take part.
    pub(super) fn share_statistics(&self) -> Result<()> {
        if self.group.is_alone() || self.config.sync_batch_norm {
            return Ok(());
        }
        let averages = self.average.iter().flat_map(|average| average.state());
        let own = self.variables.iter().chain(averages);
        let statistics = own.filter(|(name, _)| !self.variables[*name].requires_grad());
        self.group.broadcast(&statistics.map(|(_, it)| it).collect::<Vec<_>>())
    }

    /// Updates made so far.
    pub fn steps(&self) -> u64 {
        self.optimizer.steps()
    }

    /// Calls `f` with the network as it is to be evaluated: the moving average of its variables, where
    /// one is kept, stands in their place meanwhile.
    pub fn with_average<T>(&mut self, f: impl FnOnce(&dyn Backbone) -> T) -> T {
        let _in_place = self.average.as_mut().map(WeightAverage::in_place);
        f(self.net)
    }

    /// Adds the gradients of a batch, on any device, to the next update.
    ///
    /// # Errors
    /// On the CPU [`Error::NonFinite`] naming the terms, before any weight has changed, elsewhere
    /// [`Self::check`] has it; whatever [`SibConfig::terms`] refuses.
    pub fn backward(&mut self, examples: &Examples) -> Result<()> {
        let step = self.steps();
        let epoch = step / self.length.steps_per_epoch;
        // Dropout depends on where it stands in the run alone, so that a resumed run repeats it.
        let seed = stream(Use::Dropout, self.config.seed, step, self.pending.batches).random();
        tch::manual_seed(seed);
        let device = self.optimizer.device();
        let images = &for_convolutions(&sent(&examples.images, device));
        let targets = &sent(&examples.targets, device);
        let foreground = examples.foreground.as_ref().map(|it| sent(it, device));
        let cross_entropy =
            |logits: &Tensor| cross_entropy(logits, targets, self.config.label_smoothing);
        let sib = self
            .sib
            .clone()
            .filter(|sib| epoch >= sib.start_epoch && step.is_multiple_of(sib.every));

        let UpdateConfig { checkpoint_blocks: recomputing, precision, .. } = self.config;
        let _in_force = precision.in_force();
        let batch = Spread { group: self.group.clone(), norms: self.config.sync_batch_norm };
        let forward = |images: &Tensor, probe: &mut dyn Probe| {
            group::within(Some(batch.clone()), || precision.forward(self.net, images, probe))
        };
        let mut measured = Measurements::default();
        let loss = match &sib {
            None => {
                let logits = recompute::within(recomputing, || forward(images, &mut ()));
                let loss = cross_entropy(&logits);
                measured.keep("loss", &loss);
                measured.keep("top1", &top1(&logits, targets));
                loss
            }
            Some(sib) => {
                let input = Input { images, foreground: foreground.as_ref() };
                let terms = || sib.terms_of_group(input, forward, cross_entropy, &self.group);
                let terms = recompute::within(recomputing, terms)?;
                let lambdas = self.lambdas(sib, &terms, step, &mut measured)?;
                let loss = &terms.cross_entropy + sib.information_bottleneck(&terms, &lambdas);
                measured.keep("loss", &loss);
                measured.keep("top1", &top1(&terms.logits, targets));
                measured.keep("cross_entropy", &terms.cross_entropy);
                measured.keep("foreground", &terms.foreground);
                measured.keep("background", &terms.background);
                measured.keep("hsic", &-&terms.foreground);
                measured.keep("vjp_norm", &mean_norm(&terms.vjp));
                measured.keep("mask_mean", &terms.mask.mean(None::<Kind>));
                loss
            }
        };
        let measured = measured.mean_over(&self.group)?;
        if measured.are_at_hand()
            && let Some(error) = non_finite(step, &measured)
        {
            return Err(error);
        }
        let gradients =
            Tensor::f_run_backward(&[loss], &self.optimizer.parameters(), false, false)?;
        self.pending.add(gradients, measured);
        Ok(())
    }

    /// Changes the weights by the mean gradient of the batches since the last update; returns means
    /// over these batches.
    ///
    /// On devices other than the CPU nothing waits for the result: an update whose loss or gradient is not
    /// finite changes no weight, nor does any after it, and [`Self::check`] says so.
    ///
    /// # Errors
    /// On the CPU [`Error::NonFinite`] when the gradient is not finite, before any weight has changed.
    pub fn update(&mut self) -> Result<Measurements> {
        let step = self.steps();
        let Pending { batches, mut gradients, measured } = std::mem::take(&mut self.pending);
        assert!(batches > 0, "no batch since the last update");
        let mut measured = measured.times(1.0 / batches as f64);
        self.group.sum(&defined(&gradients))?;
        let parts = batches * self.group.size() as u64;
        let share = 1.0 / parts as f64;
        let norm = global_norm(&gradients) * share;
        measured.keep(GRADIENT_NORM, &norm);
        let held = self.guard.observe(step, measured.shallow_clone());
        if self.is_at_hand() {
            self.check().map_err(|held| held.error)?;
        }
        if parts > 1 || self.config.clip_norm.is_some() {
            let shortened = self.config.clip_norm.map(|longest| (longest / &norm).clamp_max(1.0));
            scale(&mut gradients, &(shortened.unwrap_or_else(|| Tensor::from(1.0)) * share));
        }

        let factor = self.config.schedule.factor(step, self.length);
        self.optimizer.step(&gradients, factor, Some(&held));
        if let Some(average) = &mut self.average {
            average.update(self.optimizer.steps());
        }
        measured.know("learning_rate", self.config.optimizer.learning_rate * factor);
        Ok(measured)
    }

    /// Waits for the updates made since the last call, and looks whether all could be made. Nothing should be
    /// made of the weights before.
    ///
    /// # Errors
    /// [`Error::NonFinite`] of the first update that was held back. The running statistics of normalisations
    /// have then taken in its images.
    pub fn check(&mut self) -> Result<(), Held> {
        self.guard.check()
    }

    /// Whether values can be read without waiting.
    pub(super) fn is_at_hand(&self) -> bool {
        self.optimizer.device() == Device::Cpu
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
        let share = &sib.gradient_share;
        let balance_due = shared && (due(share.every_steps) || self.balance.lacks_ratio(share));
        if balance_due || due(self.config.log_gradient_norms) {
            let [cross_entropy, background, foreground] =
                self.term_norms([&terms.cross_entropy, &terms.background, &terms.foreground])?;
            measured.keep("gradient_norm_cross_entropy", &cross_entropy);
            measured.keep("gradient_norm_background", &background);
            measured.keep("gradient_norm_foreground", &foreground);
            if balance_due {
                self.balance.update(share.momentum, &cross_entropy, &background, &foreground);
            }
        }
        let Lambdas { background, foreground } =
            if shared { self.balance.lambdas(share) } else { sib.lambdas() };
        if shared {
            measured.keep("lambda_bg", &background);
            measured.keep("lambda_fg", &foreground);
        }
        // Lazy regularisation keeps its average strength (Karras et al. 2020, arXiv:1912.04958).
        let every = sib.every as f64;
        Ok(Lambdas { background: background * every, foreground: foreground * every })
    }

    /// Euclidean norms of the terms' gradients with respect to all parameters.
    fn term_norms<const N: usize>(&self, terms: [&Tensor; N]) -> Result<[Tensor; N]> {
        let mut norms = terms.map(|_| Tensor::new());
        for (norm, term) in norms.iter_mut().zip(terms) {
            let parameters = self.optimizer.parameters();
            let gradients = Tensor::f_run_backward(&[term], &parameters, true, false)?;
            self.group.sum(&defined(&gradients))?;
            *norm = global_norm(&gradients) / self.group.size() as f64;
        }
        Ok(norms)
    }

    /// What must be saved besides the network's own variables.
    pub fn state(&self) -> State {
        let mut text = self.balance.state();
        text.insert(STEPS.to_owned(), self.steps().to_string());
        let mut tensors = self.optimizer.state();
        for (name, average) in self.average.iter().flat_map(WeightAverage::state) {
            tensors.insert(format!("{AVERAGE}{name}"), average.shallow_clone());
        }
        State { tensors, text }
    }

    /// Restores what [`Self::state`] gave: training goes on as if never stopped.
    ///
    /// # Errors
    /// When a number is not finite, before anything is restored; when something is missing or of another
    /// shape.
    pub fn restore(&mut self, State { tensors, text }: &State) -> Result<()> {
        if let Some(what) = checkpoint::non_finite(tensors) {
            return Err(Error::malformed("training state", format!("not finite: {what}")));
        }
        let steps = text.get(STEPS).map_or("none", String::as_str);
        let steps = steps.parse().map_err(|_| {
            Error::invalid("training state, steps", steps, "the number of updates made")
        })?;
        self.balance = Balance::from_state(text, self.optimizer.device())?;
        if let Some(average) = &mut self.average {
            average.restore(tensors, AVERAGE)?;
        }
        self.optimizer.restore(tensors, steps)
    }
}

impl Pending {
    fn add(&mut self, gradients: Vec<Tensor>, measured: Measurements) {
        self.batches += 1;
        if self.batches == 1 {
            (self.gradients, self.measured) = (gradients, measured);
            return;
        }
        for (sum, gradient) in self.gradients.iter_mut().zip(gradients) {
            // Undefined where nothing depends on the parameter, in every batch.
            if sum.defined() {
                *sum = &*sum + gradient;
            }
        }
        self.measured = self.measured.plus(&measured);
    }
}

/// Multiplies the defined `gradients` by the scalar `factor`.
fn scale(gradients: &mut [Tensor], factor: &Tensor) {
    let scaled = native::scaled(&defined(gradients), factor)
        .unwrap_or_else(|message| panic!("scaling of the gradient: {message}"));
    let moving = gradients.iter_mut().filter(|gradient| gradient.defined());
    moving.zip(scaled).for_each(|(gradient, scaled)| *gradient = scaled);
}

/// Share of `logits` `[B,K]` whose largest is at the target, a class `[B]` or the most probable of
/// `[B,K]`: a scalar in `[0, 1]`.
fn top1(logits: &Tensor, targets: &Tensor) -> Tensor {
    let classes =
        if targets.dim() == 1 { targets.shallow_clone() } else { targets.argmax(-1, false) };
    logits.argmax(-1, false).eq_tensor(&classes).to_kind(Kind::Float).mean(None::<Kind>)
}
