//! The loop: what it does after what, where it ends, and that it goes on as if it had not.

use tch::{Kind, Tensor};

use super::{Linear, images, labels};
use crate::data::Split;
use crate::train::{
    Batches, Best, BestValue, End, Fit, FitConfig, Length, Measurements, Metric, Observer,
    OptimizerConfig, Position, State, TensorBatches, UpdateConfig,
};
use crate::{Backbone, Error, Mode, Result};

/// 5 batches of 2 images.
fn batches() -> TensorBatches {
    TensorBatches::new(images(11), labels(11), 2, 43).unwrap()
}

fn config() -> FitConfig {
    let optimizer = OptimizerConfig { learning_rate: 0.1, ..OptimizerConfig::default() };
    let update = UpdateConfig { optimizer, ..UpdateConfig::default() };
    FitConfig {
        epochs: 3,
        best_metric: "loss".to_owned(),
        best_value: BestValue::Lowest,
        update,
        ..FitConfig::default()
    }
}

/// The mean of the logits of one image, as if it were a loss.
fn evaluate(net: &dyn Backbone) -> Result<Vec<Metric>> {
    let logits = tch::no_grad(|| net.forward(&images(1), Mode::Eval));
    let value = logits.mean(Kind::Double).double_value(&[]);
    Ok(vec![Metric { split: Split::Test, name: "loss".to_owned(), value }])
}

/// Writes down what it sees.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    states: Vec<State>,
    /// Saves after each update.
    eager: bool,
}

impl Observer for Log {
    type Error = Error;

    fn updated(&mut self, at: Position, measured: &Measurements) -> Result<()> {
        assert_eq!(measured.read()[0].0, "loss");
        self.lines.push(format!("{} of epoch {}", at.step, at.epoch));
        Ok(())
    }

    fn failed(&mut self, at: Position, ids: &[String], error: Error) -> Error {
        self.lines.push(format!("failed after {} at {}", at.step, ids.join(" ")));
        error
    }

    fn evaluated(&mut self, at: Position, _: &[Metric]) -> Result<()> {
        self.lines.push(format!("evaluated at {}", at.step));
        Ok(())
    }

    fn best(&mut self, at: Position, best: Best) -> Result<()> {
        assert_eq!(best.epochs, at.epoch + 1);
        self.lines.push(format!("best at {}", at.step));
        Ok(())
    }

    fn wants_to_save(&self) -> bool {
        self.eager
    }

    fn save(&mut self, at: Position, state: State) -> Result<()> {
        self.lines.push(format!("saved at {}", at.step));
        self.states.push(state);
        Ok(())
    }
}

#[test]
fn an_epoch_is_its_updates_an_evaluation_and_a_checkpoint() {
    let (net, batches) = (Linear::new(), batches());
    let config = FitConfig { accumulate_batches: 2, evaluate_every_epochs: 2, ..config() };
    let mut fit = Fit::new(&net, net.variables(), &batches, config, None).unwrap();
    assert_eq!(fit.length(), Length { epochs: 3, steps_per_epoch: 2 });
    let mut values = [3.0, 4.0].into_iter();
    let mut evaluation = |_: &dyn Backbone| {
        let value = values.next().unwrap();
        Ok(vec![Metric { split: Split::Test, name: "loss".to_owned(), value }])
    };
    let mut log = Log::default();
    assert_eq!(fit.run(&mut evaluation, &mut log).unwrap(), End::AllEpochs);
    let expected = [
        "1 of epoch 0",
        "2 of epoch 0",
        "saved at 2",
        "3 of epoch 1",
        "4 of epoch 1",
        "evaluated at 4",
        "best at 4",
        "saved at 4",
        "5 of epoch 2",
        "6 of epoch 2",
        // After the last epoch in any case.
        "evaluated at 6",
        "saved at 6",
    ];
    assert_eq!(log.lines, expected);
    // Nothing is left to do.
    assert_eq!(fit.run(&mut (), &mut ()).unwrap(), End::AllEpochs);
}

#[test]
fn it_needs_neither_an_evaluation_nor_an_observer() {
    let (net, batches) = (Linear::new(), batches());
    let before = net.weight.detach().copy();
    let mut fit = Fit::new(&net, net.variables(), &batches, config(), None).unwrap();
    assert_eq!(fit.run(&mut (), &mut ()).unwrap(), End::AllEpochs);
    assert_eq!(fit.steps(), 15);
    assert_ne!(net.weight.detach(), before);
}

#[test]
fn saved_after_any_update_it_goes_on_bit_for_bit() {
    let batches = batches();
    let update = UpdateConfig { ema_decay: Some(0.9), ..config().update };
    let config = FitConfig { accumulate_batches: 2, update, ..config() };
    let through = Linear::new();
    let mut uninterrupted =
        Fit::new(&through, through.variables(), &batches, config.clone(), None).unwrap();
    uninterrupted.run(&mut evaluate, &mut ()).unwrap();

    // One process an update: each stops for want of time as soon as it has made one.
    let hurried = FitConfig { max_hours: Some(1e-12), ..config };
    let mut saved: Option<(State, Tensor)> = None;
    for processes in 1.. {
        let net = Linear::new();
        let mut fit = Fit::new(&net, net.variables(), &batches, hurried.clone(), None).unwrap();
        if let Some((state, weight)) = &saved {
            tch::no_grad(|| net.weight.shallow_clone().copy_(weight));
            fit.restore(state).unwrap();
        }
        let mut log = Log::default();
        let end = fit.run(&mut evaluate, &mut log).unwrap();
        if end == End::AllEpochs {
            assert_eq!(processes, 6);
            assert_eq!(net.weight.detach(), through.weight.detach());
            let [ended, expected] = [fit.state(), uninterrupted.state()];
            assert_eq!(ended.text, expected.text);
            assert_eq!(ended.tensors, expected.tensors);
            break;
        }
        assert_eq!(end, End::TimeLimit);
        assert_eq!(log.states.len(), 1, "{:?}", log.lines);
        saved = Some((log.states.remove(0), net.weight.detach().copy()));
    }
}

#[test]
fn it_stops_when_nothing_gets_better() {
    let (net, batches) = (Linear::new(), batches());
    let config = FitConfig { epochs: 9, early_stop_epochs: Some(2), ..config() };
    let mut fit = Fit::new(&net, net.variables(), &batches, config, None).unwrap();
    let mut values = [3.0, 2.0, 2.0, 2.5].into_iter();
    let mut evaluation = |_: &dyn Backbone| {
        let metric =
            |name: &str, value| Metric { split: Split::Validation, name: name.to_owned(), value };
        Ok(vec![metric("top1", 7.0), metric("loss", values.next().unwrap()), metric("loss", 0.0)])
    };
    let end = fit.run(&mut evaluation, &mut ()).unwrap();
    assert_eq!(end, End::Early(Best { value: 2.0, epochs: 2 }));
    assert_eq!(fit.steps(), 4 * 5);
}

#[test]
fn what_is_evaluated_is_the_average() {
    let (net, batches) = (Linear::new(), batches());
    let update = UpdateConfig { ema_decay: Some(0.9), ..config().update };
    let config = FitConfig { epochs: 1, update, ..config() };
    let mut fit = Fit::new(&net, net.variables(), &batches, config, None).unwrap();
    let mut seen = None;
    let mut evaluation = |_: &dyn Backbone| {
        seen = Some(net.weight.detach().copy());
        Ok(Vec::new())
    };
    let mut log = Log::default();
    fit.run(&mut evaluation, &mut log).unwrap();
    assert_eq!(seen.as_ref(), Some(&log.states[0].tensors["average.weight"]));
    assert_ne!(seen, Some(net.weight.detach()));
}

#[test]
fn a_metric_that_is_not_measured_chooses_nothing() {
    let (net, batches) = (Linear::new(), batches());
    let config = FitConfig { best_metric: "top1".to_owned(), ..config() };
    let mut fit = Fit::new(&net, net.variables(), &batches, config, None).unwrap();
    let message = fit.run(&mut evaluate, &mut ()).unwrap_err().to_string();
    assert_eq!(message, "best_metric: got top1, expected one of loss");
}

#[test]
fn an_update_that_fails_is_told_with_its_images() {
    let (net, images) = (Linear::new(), images(6));
    let _ = images.get(4).fill_(f64::NAN);
    let batches = TensorBatches::new(images, labels(6), 2, 43).unwrap();
    let place =
        batches.epoch(0, 0..3).position(|batch| batch.unwrap().ids.contains(&"4".to_owned()));
    let place = place.unwrap();
    let ids = batches.epoch(0, place..3).next().unwrap().unwrap().ids;
    let mut fit = Fit::new(&net, net.variables(), &batches, config(), None).unwrap();
    let mut log = Log::default();
    let error = fit.run(&mut (), &mut log).unwrap_err();
    assert!(matches!(error, Error::NonFinite { .. }), "{error}");
    assert_eq!(log.lines.last().unwrap(), &format!("failed after {place} at {}", ids.join(" ")));
}

#[test]
fn an_epoch_without_an_update_is_refused() {
    let (net, batches) = (Linear::new(), batches());
    let config = FitConfig { accumulate_batches: 6, ..config() };
    let error = Fit::new(&net, net.variables(), &batches, config, None).err().unwrap();
    let expected = "accumulate_batches: got 6, expected at most the 5 batches of an epoch";
    assert_eq!(error.to_string(), expected);
}
