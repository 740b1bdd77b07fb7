//! Figure 1a: information of foreground and background after each epoch of training.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};

use super::Drawn;
use super::estimator::{Region, Shown, information};
use super::notes::{common, lengths_note, seeds_note};
use super::palette;
use crate::draw::axis::AxisOptions;
use crate::draw::chart::{LineChart, Point, Series};
use crate::draw::colour::Dash;
use crate::draw::panels::Page;
use crate::draw::style::{Shape, Style};
use crate::error::with_hint;
use crate::left_out::LeftOut;
use crate::results::compare::{Group, Measured, Origin, grouped};
use crate::results::seeds::over_seeds;
use crate::results::{Called, Folders, Run};

/// Of the networks in their order.
const SHAPES: [Shape; 3] = [Shape::Circle, Shape::Square, Shape::Triangle];

/// One run's values by epoch, counted from 1, of foreground and background.
type Epochs = BTreeMap<u64, [Option<f64>; 2]>;

/// The figure.
///
/// # Errors
/// When no finished run in `folders` has logged the information, or runs cannot be compared.
pub(super) fn draw(folders: &Folders, shown: Shown, left_out: &mut LeftOut) -> Result<Drawn> {
    let runs = folders.finished_runs(left_out)?;
    let measured: Vec<_> = runs.iter().filter_map(|run| measured(run, shown)).collect();
    if measured.is_empty() {
        let of = if shown.above_random { " and that of random pairs" } else { "" };
        let error = anyhow!("{folders}: no finished run has logged its information{of}");
        return Err(with_hint(error, "train with --set train.log_information=true"));
    }
    let batch_size = common(measured.iter().map(|one| one.values.1));
    let groups = grouped(measured)?;
    let charts: Vec<_> = groups.iter().map(|group| chart(group, shown)).collect();
    let note = format!(
        "{} {}{}",
        shown.note(batch_size),
        seeds_note(&groups, "One seed."),
        lengths_note(&groups)
    );
    let over = move |note: &str| {
        Page::of(charts.iter().map(|chart| chart as _).collect(), note.to_owned()).to_svg()
    };
    Ok(Drawn { note, over: Box::new(over) })
}

/// What a run has logged, and its batch size; `None` where it has not.
fn measured(run: &Run, shown: Shown) -> Option<Measured<(Epochs, Option<u64>)>> {
    let mut logged = BTreeMap::<u64, BTreeMap<&str, f64>>::new();
    for row in run.record.metrics.iter().filter(|row| row.split == "test") {
        logged.entry(row.epoch + 1).or_default().insert(&row.name, row.value);
    }
    let values = |of: &BTreeMap<&str, f64>| {
        Region::ALL.map(|region| shown.of(region, region, |name| of.get(name).copied()))
    };
    let mut epochs: Epochs = logged.iter().map(|(&epoch, of)| (epoch, values(of))).collect();
    epochs.retain(|_, values| values.iter().any(Option::is_some));
    let batch_size = run.config.train.batch_size;
    let settings = batch_size.map(|size| ("train.batch_size".to_owned(), size.to_string()));
    let origin = Origin::of_run(run, settings.into_iter().collect());
    (!epochs.is_empty()).then_some(Measured { origin, values: (epochs, batch_size) })
}

fn chart(group: &Group<(Epochs, Option<u64>)>, shown: Shown) -> LineChart {
    let mut series = Vec::new();
    for (index, region) in Region::ALL.into_iter().enumerate() {
        for network in group.called() {
            let points = mean_by_epoch(group.of(network).map(|run| &run.values.0), index);
            if !points.is_empty() {
                let label = information(region.subscript(), region.subscript());
                let label = format!("{label}, {}", network.title);
                series.push(Series { label, points, style: style(network, region) });
            }
        }
    }
    LineChart {
        title: group.title.clone(),
        x: AxisOptions { whole: true, ..AxisOptions::new("Epoch") },
        y: AxisOptions::new(shown.axis()),
        series,
    }
}

/// Colour says which network it is of, line and marker of which region.
fn style(network: &Called, region: Region) -> Style {
    let shape = SHAPES[network.place % SHAPES.len()];
    let (dash, open) = match region {
        Region::Foreground => (Dash::Solid, false),
        Region::Background => (Dash::Dashed, true),
    };
    Style { colour: palette::colour(network), dash, shape, open }
}

/// Mean and standard error over the runs that have a value after an epoch.
fn mean_by_epoch<'r>(runs: impl Iterator<Item = &'r Epochs>, region: usize) -> Vec<Point> {
    let mut by_epoch = BTreeMap::<u64, Vec<f64>>::new();
    for (epoch, values) in runs.flatten() {
        by_epoch.entry(*epoch).or_default().extend(values[region]);
    }
    let point = |(epoch, values): (u64, Vec<f64>)| {
        let (mean, error) = over_seeds(values.into_iter().map(|value| (value, None)))?;
        Some(Point { x: epoch as f64, mean, error })
    };
    by_epoch.into_iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_the_mean_of_the_runs_that_reached_it() {
        let short = Epochs::from([(1, [Some(1.0), None]), (2, [Some(3.0), None])]);
        let long =
            Epochs::from([(1, [Some(2.0), None]), (2, [Some(5.0), None]), (3, [Some(7.0), None])]);
        let points = mean_by_epoch([&short, &long].into_iter(), 0);
        let values: Vec<_> = points.iter().map(|point| (point.x, point.mean)).collect();
        assert_eq!(values, [(1.0, 1.5), (2.0, 4.0), (3.0, 7.0)]);
        // Half the difference of two values is their standard error.
        let errors: Vec<_> = points.iter().map(|point| point.error).collect();
        assert!(
            (errors[0].unwrap() - 0.5).abs() < 1e-15 && (errors[1].unwrap() - 1.0).abs() < 1e-15
        );
        assert_eq!(errors[2], None);
        assert!(mean_by_epoch([&short, &long].into_iter(), 1).is_empty());
    }
}
