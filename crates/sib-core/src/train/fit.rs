//! The training loop: batches to updates, epochs to evaluations, from wherever it stands to its end.

use std::collections::BTreeMap;
use std::time::Instant;

use tch::Tensor;

use super::{
    Batches, Best, Evaluation, Examples, FitConfig, Held, Length, Measurements, Observer, Position,
    State, Trainer,
};
use crate::group::Group;
use crate::objective::SibConfig;
use crate::{Backbone, Error, Result};

/// A training: a network, its batches, and how far it has come.
pub struct Fit<'a> {
    trainer: Trainer<'a>,
    batches: &'a dyn Batches,
    config: FitConfig,
    length: Length,
    best: Option<Best>,
    /// The images of each update since the last look at whether it could be made.
    unseen: Vec<(u64, Vec<String>)>,
}

/// Why a training ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// All epochs were trained.
    AllEpochs,
    /// Nothing has been better than this for [`FitConfig::early_stop_epochs`].
    Early(Best),
    /// [`FitConfig::max_hours`] have passed; there is something left to do.
    TimeLimit,
    /// An observer wanted it ([`Observer::wants_to_end`]); there is something left to do.
    Asked,
}

impl<'a> Fit<'a> {
    /// The training of `net`, whose `variables` (not copies) are given by state-dict key; those that
    /// require a gradient are trained. Without `sib`, it trains on cross-entropy alone. Batches of an
    /// epoch that do not fill an update are left out.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the setting that is out of range.
    pub fn new(
        net: &'a dyn Backbone,
        variables: BTreeMap<String, Tensor>,
        batches: &'a dyn Batches,
        config: FitConfig,
        sib: Option<SibConfig>,
    ) -> Result<Self> {
        config.validate()?;
        let FitConfig { epochs, accumulate_batches, .. } = config;
        let steps_per_epoch = batches.per_epoch() as u64 / accumulate_batches;
        if steps_per_epoch == 0 {
            let expected = format!("at most the {} batches of an epoch", batches.per_epoch());
            return Err(Error::invalid("accumulate_batches", accumulate_batches, expected));
        }
        let length = Length { epochs, steps_per_epoch };
        let trainer = Trainer::new(net, variables, config.update.clone(), sib, length)?;
        Ok(Self { trainer, batches, config, length, best: None, unseen: Vec::new() })
    }

    /// The same as a member of `group`, whose `batches` give its part of each.
    ///
    /// # Errors
    /// As [`Trainer::in_group`].
    pub fn in_group(mut self, group: Group) -> Result<Self> {
        self.trainer = self.trainer.in_group(group)?;
        Ok(self)
    }

    /// Updates made so far.
    pub fn steps(&self) -> u64 {
        self.trainer.steps()
    }

    /// How long the training is.
    pub fn length(&self) -> Length {
        self.length
    }

    /// What must be saved besides the network's own variables.
    pub fn state(&self) -> State {
        let mut state = self.trainer.state();
        state.text.extend(self.best.iter().flat_map(|best| best.state()));
        state
    }

    /// Restores what [`Self::state`] gave: training goes on as if never stopped, once the network's own
    /// variables are restored too.
    ///
    /// # Errors
    /// As [`Trainer::restore`].
    pub fn restore(&mut self, state: &State) -> Result<()> {
        self.trainer.restore(state)?;
        self.best = Best::from_state(&state.text);
        Ok(())
    }

    /// Trains to the end, or until time is over.
    ///
    /// # Errors
    /// When a loss or a gradient is not finite or a batch cannot be had; what `evaluation` and `observer`
    /// end it with.
    pub fn run<O: Observer>(
        &mut self,
        evaluation: &mut dyn Evaluation<O::Error>,
        observer: &mut O,
    ) -> Result<End, O::Error> {
        let (started, first) = (Instant::now(), self.steps());
        let hours = self.config.max_hours.unwrap_or(f64::INFINITY);
        let is_out_of_time = || started.elapsed().as_secs_f64() / 3600.0 > hours;
        let Length { epochs, steps_per_epoch } = self.length;
        loop {
            let (epoch, done) = (self.steps() / steps_per_epoch, self.steps() % steps_per_epoch);
            if epoch >= epochs {
                return Ok(End::AllEpochs);
            }
            if let Some(best) = self.best.filter(|best| best.is_stale(&self.config, epoch)) {
                return Ok(End::Early(best));
            }
            let group = self.trainer.group().clone();
            // All members end, or none.
            let end = |observer: &O| -> Result<Option<End>> {
                let [asked, time] = group.any([observer.wants_to_end(), is_out_of_time()])?;
                Ok(if asked { Some(End::Asked) } else { time.then_some(End::TimeLimit) })
            };
            if let Some(end) = end(observer)?.filter(|_| self.steps() > first) {
                return Ok(end);
            }

            let batches_before = |steps: u64| (steps * self.config.accumulate_batches) as usize;
            let places = batches_before(done)..batches_before(steps_per_epoch);
            let source = self.batches;
            let mut batches = source.epoch(epoch, places);
            for place in done..steps_per_epoch {
                let measured = self.update(epoch, &mut batches, observer)?;
                let (at, is_last) = (self.position(epoch), place + 1 == steps_per_epoch);
                let looks = is_last || observer.wants_measurements(at);
                if looks {
                    self.check(observer)?;
                }
                observer.updated(at, &measured)?;
                // After the last one, the epoch is evaluated before it is saved.
                if !is_last {
                    // Members of a group on GPUs would wait for each other.
                    let may_end = looks || group.is_alone() || self.trainer.is_at_hand();
                    let end = if may_end { end(observer)? } else { None };
                    if end.is_some() || observer.wants_to_save() {
                        self.check(observer)?;
                        observer.save(self.position(epoch), self.state())?;
                    }
                    if let Some(end) = end {
                        return Ok(end);
                    }
                }
            }
            if epoch + 1 == epochs || (epoch + 1).is_multiple_of(self.config.evaluate_every_epochs)
            {
                self.evaluate(epoch, evaluation, observer)?;
            }
            observer.save(self.position(epoch), self.state())?;
        }
    }

    fn position(&self, epoch: u64) -> Position {
        Position { step: self.steps(), epoch }
    }

    /// One update of the next of `batches`.
    fn update<O: Observer>(
        &mut self,
        epoch: u64,
        batches: &mut dyn Iterator<Item = Result<Examples>>,
        observer: &mut O,
    ) -> Result<Measurements, O::Error> {
        let mut ids = Vec::new();
        let mut update = || {
            for _ in 0..self.config.accumulate_batches {
                let mut examples = batches.next().unwrap_or_else(|| {
                    let per_epoch = self.batches.per_epoch();
                    Err(Error::invalid("batches", "fewer", format!("{per_epoch} each epoch")))
                })?;
                ids.append(&mut examples.ids);
                self.trainer.backward(&examples)?;
            }
            self.trainer.update()
        };
        let measured = update();
        let at = Position { step: self.steps(), epoch };
        let measured = measured
            .map_err(|error| observer.failed(at, &self.ids_of_all(ids.clone(), &error), error))?;
        self.unseen.push((at.step - 1, ids));
        Ok(measured)
    }

    /// Looks whether the updates so far could be made.
    fn check<O: Observer>(&mut self, observer: &mut O) -> Result<(), O::Error> {
        let unseen = std::mem::take(&mut self.unseen);
        self.trainer.check().map_err(|Held { step, error }| {
            let ids = unseen.into_iter().find(|(of, _)| *of == step);
            let at = Position { step, epoch: step / self.length.steps_per_epoch };
            let (_, ids) = ids.unwrap_or_default();
            observer.failed(at, &self.ids_of_all(ids, &error), error)
        })
    }

    /// The images of all members' parts, where the update failed with all of them; otherwise this one's.
    fn ids_of_all(&self, own: Vec<String>, error: &Error) -> Vec<String> {
        if !matches!(error, Error::NonFinite { .. }) {
            return own;
        }
        match self.trainer.group().exchanged(own.join("\n").as_bytes()) {
            Ok(all) => all
                .iter()
                .flat_map(|ids| {
                    String::from_utf8_lossy(ids).lines().map(str::to_owned).collect::<Vec<_>>()
                })
                .collect(),
            Err(_) => own,
        }
    }

    /// Measures the network and lets the observer keep it where it is the best so far.
    fn evaluate<O: Observer>(
        &mut self,
        epoch: u64,
        evaluation: &mut dyn Evaluation<O::Error>,
        observer: &mut O,
    ) -> Result<(), O::Error> {
        let at = self.position(epoch);
        self.trainer.share_statistics()?;
        let Self { trainer, config, best, .. } = self;
        trainer.with_average(|net| {
            let metrics = evaluation.evaluate(net, at)?;
            observer.evaluated(at, &metrics)?;
            let Some(chosen_by) = metrics.iter().find(|it| it.name == config.best_metric) else {
                let names: Vec<&str> = metrics.iter().map(|metric| &*metric.name).collect();
                let expected = format!("one of {}", names.join(", "));
                let unknown = Error::invalid("best_metric", &config.best_metric, expected);
                return if metrics.is_empty() { Ok(()) } else { Err(unknown.into()) };
            };
            let value = chosen_by.value;
            if best.is_none_or(|best| config.best_value.is_better(value, best.value)) {
                let now = Best { value, epochs: epoch + 1 };
                *best = Some(now);
                observer.best(at, now)?;
            }
            Ok(())
        })
    }
}
