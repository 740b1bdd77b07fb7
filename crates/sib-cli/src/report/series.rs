//! Metrics of runs as lines over steps: runs that differ in their seed alone become one line, the
//! mean with its standard error.

use std::collections::BTreeMap;

use sib_metrics::Summary;

use super::format::count;
use super::runs::NamedRun;
use crate::draw::chart::Point;
use crate::run::MetricRow;

/// Points of a line at most; of more, neighbours are averaged.
const POINTS: u64 = 120;

/// The runs of one network on one dataset.
#[derive(Debug)]
pub(super) struct Group<'r> {
    /// Dataset, architecture and size of the images.
    pub(super) title: String,
    /// Baselines first.
    pub(super) branches: Vec<Branch<'r>>,
}

/// Runs that differ in their seed alone.
#[derive(Debug)]
pub(super) struct Branch<'r> {
    pub(super) label: String,
    /// That of its name among the networks.
    pub(super) place: usize,
    pub(super) runs: Vec<&'r NamedRun>,
}

/// The runs that have logged something, by network and dataset.
pub(super) fn groups(runs: &[NamedRun]) -> Vec<Group<'_>> {
    let mut groups = Vec::<Group<'_>>::new();
    for run in runs.iter().filter(|run| !run.run.record.metrics.is_empty()) {
        let crop_px = run.setting("data.preprocessing.crop_px");
        let title = format!("{}, {}, {crop_px} px", run.dataset(), run.arch());
        let group = match groups.iter().position(|group| group.title == title) {
            Some(known) => &mut groups[known],
            None => {
                groups.push(Group { title, branches: Vec::new() });
                let last = groups.len() - 1;
                &mut groups[last]
            }
        };
        group.add(run);
    }
    groups.iter_mut().for_each(Group::finish);
    groups
}

impl<'r> Group<'r> {
    fn add(&mut self, run: &'r NamedRun) {
        let is_replicate = |branch: &&mut Branch<'_>| but_for_seed(branch.runs[0], run);
        match self.branches.iter_mut().find(is_replicate) {
            Some(branch) => branch.runs.push(run),
            None => self.branches.push(Branch {
                label: String::new(),
                place: run.run.called.place,
                runs: vec![run],
            }),
        }
    }

    /// Orders the branches and names them: as their networks are called, where that tells them apart.
    fn finish(&mut self) {
        self.branches.sort_by_key(|branch| branch.place);
        let places: Vec<usize> = self.branches.iter().map(|branch| branch.place).collect();
        for branch in &mut self.branches {
            let alike = places.iter().filter(|&&place| place == branch.place).count();
            branch.label = match alike {
                1 => branch.runs[0].run.called.title.clone(),
                _ => branch.runs[0].name.clone(),
            };
            if branch.runs.len() > 1 {
                branch.label += &format!(", {}", count(branch.runs.len(), "seed", "seeds"));
            }
        }
    }
}

/// Whether the settings of two runs are the same but for the seed of the training.
fn but_for_seed(a: &NamedRun, b: &NamedRun) -> bool {
    let others = |run: &'_ NamedRun| -> Vec<(String, String)> {
        let settings = run.run.settings.iter().filter(|(key, _)| *key != "train.seed");
        settings.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    others(a) == others(b)
}

/// A metric of a split.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    /// `train`, `val` or `test`.
    pub(super) split: &'static str,
    /// Its name in `metrics.csv`.
    pub(super) name: &'static str,
}

/// The mean of a metric over runs, of `shown` its value, over steps. Where it has more values than
/// a line has points, neighbours are averaged. The line ends where the first of the runs does, so
/// that it does not jump.
pub(super) fn mean_line(
    runs: &[&[MetricRow]],
    metric: Metric,
    shown: impl Fn(f64) -> f64,
) -> Vec<Point> {
    let rows = |run: &'_ &[MetricRow]| {
        run.iter()
            .filter(|row| row.split == metric.split && row.name == metric.name)
            .map(|row| (row.step, shown(row.value)))
            .filter(|(_, value)| value.is_finite())
            .collect::<Vec<_>>()
    };
    let lines: Vec<Vec<(u64, f64)>> = runs.iter().map(rows).filter(|r| !r.is_empty()).collect();
    let last = lines.iter().flatten().map(|&(step, _)| step).max().unwrap_or_default();
    let width = last.div_ceil(POINTS).max(1);
    let mut bins = BTreeMap::<u64, (Summary, Summary)>::new();
    for line in &lines {
        for bin in line.chunk_by(|a, b| a.0.div_ceil(width) == b.0.div_ceil(width)) {
            let mean = |of: fn(&(u64, f64)) -> f64| {
                bin.iter().map(of).collect::<Summary>().mean().unwrap_or(f64::NAN)
            };
            let (steps, values) = bins.entry(bin[0].0.div_ceil(width)).or_default();
            steps.push(mean(|&(step, _)| step as f64));
            values.push(mean(|&(_, value)| value));
        }
    }
    let whole = bins.into_values().filter(|(_, values)| values.n() == lines.len() as u64);
    let point = |(steps, values): (Summary, Summary)| {
        Some(Point { x: steps.mean()?, mean: values.mean()?, error: values.standard_error() })
    };
    whole.filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSS: Metric = Metric { split: "train", name: "loss" };

    fn rows(values: impl IntoIterator<Item = f64>) -> Vec<MetricRow> {
        let row = |(step, value)| MetricRow {
            step,
            epoch: 0,
            split: "train".to_owned(),
            name: "loss".to_owned(),
            value,
        };
        (1..).zip(values).map(row).collect()
    }

    #[test]
    fn replicates_become_a_mean_that_ends_with_the_first_of_them() {
        let (a, b) = (rows([1.0, 2.0, 3.0]), rows([3.0, 2.0]));
        let line = mean_line(&[&a, &b], LOSS, |value| value);
        let point = |x, mean, error| Point { x, mean, error: Some(error) };
        assert_eq!(line, [point(1.0, 2.0, 1.0), point(2.0, 2.0, 0.0)]);
        let alone = mean_line(&[&a, &[]], LOSS, |value| 10.0 * value);
        assert_eq!(alone.len(), 3);
        assert_eq!(alone[2], Point { x: 3.0, mean: 30.0, error: None });
    }

    #[test]
    fn many_values_are_averaged_and_those_that_are_not_finite_left_out() {
        let many = rows((1..=1000).map(f64::from));
        let line = mean_line(&[&many], LOSS, |value| value);
        // 9 steps a point.
        assert_eq!(line.len(), 112);
        assert_eq!((line[0].x, line[0].mean), (5.0, 5.0));
        assert_eq!(mean_line(&[&rows([-1.0, 0.0, 10.0])], LOSS, f64::log10).len(), 1);
        assert!(mean_line(&[&many], Metric { split: "test", ..LOSS }, |v| v).is_empty());
    }
}
