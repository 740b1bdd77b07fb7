//! Charts: training curves of runs, insertion and deletion curves of evaluations.

use anyhow::Result;
use serde::Serialize;

use super::format::significant;
use super::series::{Branch, Group, Metric, mean_line};
use crate::draw::axis::AxisOptions;
use crate::draw::chart::{LineChart, Point, Series};
use crate::draw::colour::{COLOURS, Dash};
use crate::draw::style::Style;
use crate::evaluation::suites::{CurvePoint, PATHS};
use crate::results::titles::method_label;
use crate::run::MetricRow;

/// Width that text on a chart is sized for; the page stretches it.
const WIDTH_MM: f64 = 92.0;

/// A chart as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct ChartView {
    svg: String,
    /// What it shows, for those who do not see it.
    description: String,
}

/// Charts of the same runs or evaluations.
#[derive(Debug, Serialize)]
pub(super) struct GroupView {
    pub(super) title: String,
    pub(super) charts: Vec<ChartView>,
}

impl GroupView {
    /// All charts that the group has logged something for. A chart has no more branches than there are
    /// colours: of more, there are several.
    ///
    /// # Errors
    /// When one cannot be drawn.
    pub(super) fn new(group: &Group<'_>) -> Result<Self> {
        let mut charts = Vec::new();
        for plot in &PLOTS {
            charts.extend(parts(group).map(|branches| plot.chart(branches)));
        }
        for measure in &MEASURES {
            charts.extend(parts(group).map(|branches| region_chart(measure, branches)));
        }
        let charts = charts.into_iter().filter_map(drawn).collect::<Result<_>>()?;
        Ok(Self { title: group.title.clone(), charts })
    }
}

/// The branches chart by chart.
fn parts<'g, 'r>(group: &'g Group<'r>) -> impl Iterator<Item = &'g [Branch<'r>]> {
    group.branches.chunks(COLOURS)
}

/// A chart of metrics, a line each for every branch.
struct Plot {
    title: &'static str,
    y: &'static str,
    /// What stands behind the branch in the legend, and of what.
    lines: &'static [(&'static str, Metric)],
    shown: fn(f64) -> f64,
}

const fn train(name: &'static str) -> Metric {
    Metric { split: "train", name }
}

const fn test(name: &'static str) -> Metric {
    Metric { split: "test", name }
}

const fn validation(name: &'static str) -> Metric {
    Metric { split: "val", name }
}

fn itself(value: f64) -> f64 {
    value
}

const PLOTS: [Plot; 8] = [
    Plot {
        title: "Loss",
        y: "loss",
        lines: &[
            (", test", test("loss")),
            (", training", train("loss")),
            (", validation", validation("loss")),
        ],
        shown: itself,
    },
    Plot {
        title: "Test accuracy",
        y: "top-1, %",
        lines: &[("", test("top1")), (", validation", validation("top1"))],
        shown: itself,
    },
    Plot {
        title: "Training accuracy",
        y: "top-1, %",
        lines: &[("", train("top1"))],
        shown: |fraction| 100.0 * fraction,
    },
    Plot {
        title: "Foreground term",
        y: "L_{fg}",
        lines: &[("", train("foreground"))],
        shown: itself,
    },
    Plot {
        title: "Background term",
        y: "log_{10} L_{bg}",
        lines: &[("", train("background"))],
        shown: f64::log10,
    },
    Plot {
        title: "Norm of R",
        y: "log_{10} of the norm",
        lines: &[("", train("vjp_norm"))],
        shown: f64::log10,
    },
    Plot {
        title: "Mean of the mask",
        y: "mean of M",
        lines: &[("", train("mask_mean"))],
        shown: itself,
    },
    Plot {
        title: "Gradient norms",
        y: "log_{10} of the norm",
        lines: &[
            (", cross-entropy", train("gradient_norm_cross_entropy")),
            (", foreground", train("gradient_norm_foreground")),
            (", background", train("gradient_norm_background")),
        ],
        shown: f64::log10,
    },
];

impl Plot {
    fn chart(&self, branches: &[Branch<'_>]) -> LineChart {
        let mut series = Vec::new();
        for (branch, colour) in branches.iter().zip(colours(branches)) {
            for ((suffix, metric), dash) in self.lines.iter().zip(DASHES) {
                let style = Style { dash, ..Style::nth(colour) };
                let label = format!("{}{suffix}", branch.label);
                series.push(line(label, branch, *metric, self.shown, style));
            }
        }
        chart(self.title, "step", self.y, series)
    }
}

/// Of the lines of one branch, whose colour they share.
const DASHES: [Dash; 4] = [Dash::Solid, Dash::Dotted, Dash::Dashed, Dash::Alternating];

/// Places in the palette, no two alike: the first of each name has the colour that it has in all figures.
fn colours(branches: &[Branch<'_>]) -> Vec<usize> {
    let own = |branch: &Branch<'_>| branch.place % COLOURS;
    let is_first = |at: usize| branches[..at].iter().all(|other| own(other) != own(&branches[at]));
    let firsts = (0..branches.len()).filter(|&at| is_first(at));
    let taken: Vec<usize> = firsts.map(|at| own(&branches[at])).collect();
    let mut free = (2..COLOURS).chain(0..2).filter(|place| !taken.contains(place));
    (0..branches.len())
        .map(|at| if is_first(at) { own(&branches[at]) } else { free.next().unwrap_or(at) })
        .collect()
}

/// Region information by one measure: its name in `metrics.csv` for each pair of regions.
struct Measure {
    title: &'static str,
    y: &'static str,
    names: [&'static str; 4],
}

/// Regions of the image and of R, in the order of [`Measure::names`].
const REGIONS: [&str; 4] = ["x_{fg} R_{fg}", "x_{fg} R_{bg}", "x_{bg} R_{fg}", "x_{bg} R_{bg}"];

const MEASURES: [Measure; 3] = [
    Measure {
        title: "Regions of image and R: HSIC",
        y: "HSIC",
        names: ["hsic_x_fg_r_fg", "hsic_x_fg_r_bg", "hsic_x_bg_r_fg", "hsic_x_bg_r_bg"],
    },
    Measure {
        title: "Regions of image and R: CKA",
        y: "CKA",
        names: ["cka_x_fg_r_fg", "cka_x_fg_r_bg", "cka_x_bg_r_fg", "cka_x_bg_r_bg"],
    },
    Measure {
        title: "Regions of image and R: Rényi information",
        y: "bits",
        names: [
            "renyi_bits_x_fg_r_fg",
            "renyi_bits_x_fg_r_bg",
            "renyi_bits_x_bg_r_fg",
            "renyi_bits_x_bg_r_bg",
        ],
    },
];

/// Branches have a colour each, as in all charts, pairs of regions their dashes.
fn region_chart(measure: &Measure, branches: &[Branch<'_>]) -> LineChart {
    let mut series = Vec::new();
    for (branch, colour) in branches.iter().zip(colours(branches)) {
        for ((name, regions), dash) in measure.names.into_iter().zip(REGIONS).zip(DASHES) {
            let style = Style { dash, ..Style::nth(colour) };
            let label = format!("{} {regions}", branch.label);
            series.push(line(label, branch, test(name), itself, style));
        }
    }
    chart(measure.title, "step", measure.y, series)
}

fn line(
    label: String,
    branch: &Branch<'_>,
    metric: Metric,
    shown: fn(f64) -> f64,
    style: Style,
) -> Series {
    let runs: Vec<&[MetricRow]> = branch.runs.iter().map(|of| &of.run.record.metrics[..]).collect();
    Series { label, points: mean_line(&runs, metric, shown), style }
}

/// A chart of the series that have a point.
pub(super) fn chart(title: &str, x: &str, y: &str, mut series: Vec<Series>) -> LineChart {
    series.retain(|series| !series.points.is_empty());
    LineChart { title: title.to_owned(), x: AxisOptions::new(x), y: AxisOptions::new(y), series }
}

/// The mean insertion and deletion curves of an evaluation.
///
/// # Errors
/// When one cannot be drawn.
pub(super) fn of_evaluation(points: &[CurvePoint]) -> Result<Vec<ChartView>> {
    let charts = PATHS.into_iter().map(|path| {
        let of_path: Vec<&CurvePoint> = points.iter().filter(|point| point.path == path).collect();
        let series = of_path.chunk_by(|a, b| a.method == b.method).enumerate();
        let series = series.map(|(index, points)| Series {
            label: method_label(&points[0].method).1,
            points: points.iter().map(|point| on_chart(point)).collect(),
            style: Style::nth(index),
        });
        let title = match path {
            "insertion" => "Insertion",
            _ => "Deletion",
        };
        chart(title, "pixels changed, %", "class probability, %", series.collect())
    });
    charts.filter_map(drawn).collect()
}

/// A point in per cent.
pub(super) fn on_chart(point: &CurvePoint) -> Point {
    Point {
        x: 100.0 * point.changed_frac,
        mean: 100.0 * point.mean,
        error: point.standard_error.map(|error| 100.0 * error),
    }
}

/// The chart as the page shows it; `None` where it is empty.
pub(super) fn drawn(chart: LineChart) -> Option<Result<ChartView>> {
    if chart.series.is_empty() {
        return None;
    }
    let last = |series: &Series| {
        let value = series.points.last().map(|point| point.mean);
        format!("{} {}", plain(&series.label), significant(value))
    };
    let values: Vec<String> = chart.series.iter().map(last).collect();
    let description = format!(
        "Line chart: {}, {} over {}. Last values: {}.",
        chart.title,
        plain(&chart.y.label),
        chart.x.label,
        values.join("; ")
    );
    Some(chart.to_svg(WIDTH_MM).map(|svg| ChartView { svg, description }))
}

/// A label without the marks of subscripts.
fn plain(label: &str) -> String {
    label.replace("_{", " ").replace('}', "")
}

#[cfg(test)]
mod tests {
    use super::super::runs::NamedRun;
    use super::*;
    use crate::dotted::Settings;
    use crate::environment::Environment;
    use crate::network::StoredConfig;
    use crate::network::Training;
    use crate::results::Run;
    use crate::run::RunRecord;

    fn run_of(metrics: Vec<MetricRow>) -> NamedRun {
        let environment = Environment::of(tch::Device::Cpu);
        let record = RunRecord {
            path: "run".into(),
            config: String::new(),
            environment,
            status: None,
            failed: false,
            metrics,
        };
        let run = Run {
            called: Training::Baseline.into(),
            record,
            config: StoredConfig::default(),
            settings: Settings::new(),
        };
        NamedRun { run, name: "run".to_owned() }
    }

    fn branch(training: Training) -> Branch<'static> {
        Branch { label: String::new(), place: training.place(), runs: Vec::new() }
    }

    #[test]
    fn baseline_and_s_ib_keep_their_colours_beside_others() {
        let colours_of = |trainings: &[Training]| {
            let branches: Vec<_> = trainings.iter().map(|&training| branch(training)).collect();
            colours(&branches)
        };
        assert_eq!(colours_of(&[Training::SIb]), [1]);
        let (plain, s_ib) = (Training::Baseline, Training::SIb);
        assert_eq!(colours_of(&[plain, plain, s_ib, s_ib]), [0, 2, 1, 3]);
        assert_eq!(colours_of(&[s_ib; COLOURS]), [1, 2, 3, 4, 5, 0]);
    }

    #[test]
    fn no_two_lines_of_a_chart_look_alike_however_many_runs_there_are() {
        let row = |name: &str| MetricRow {
            step: 1,
            epoch: 0,
            split: "test".to_owned(),
            name: name.to_owned(),
            value: 1.0,
        };
        let metrics: Vec<MetricRow> = MEASURES[0].names.map(row).into();
        let run = run_of(metrics);
        for number in 1..=COLOURS {
            let branches: Vec<_> = (0..number)
                .map(|at| Branch { label: at.to_string(), place: at % 2, runs: vec![&run] })
                .collect();
            let chart = region_chart(&MEASURES[0], &branches);
            assert_eq!(chart.series.len(), 4 * number);
            let mut looks: Vec<_> = chart
                .series
                .iter()
                .map(|series| format!("{:?} {:?}", series.style.colour, series.style.dash))
                .collect();
            looks.sort();
            looks.dedup();
            assert_eq!(looks.len(), 4 * number);
        }
        let group = Group {
            title: String::new(),
            branches: (0..=COLOURS).map(|_| branch(Training::SIb)).collect(),
        };
        assert_eq!(parts(&group).map(<[_]>::len).collect::<Vec<_>>(), [COLOURS, 1]);
    }

    #[test]
    fn curves_have_a_chart_a_path_and_a_line_a_method() {
        let point = |path: &str, method: &str, mean| CurvePoint {
            method: method.to_owned(),
            path: path.to_owned(),
            changed_frac: mean,
            mean,
            standard_error: Some(0.1),
            n: 4,
        };
        let points = [
            point("insertion", "saliency", 0.0),
            point("insertion", "saliency", 0.5),
            point("insertion", "a<b", 1.0),
        ];
        let charts = of_evaluation(&points).unwrap();
        assert_eq!(charts.len(), 1);
        assert!(charts[0].description.ends_with("Last values: Saliency 50.00; a<b 100.0."));
        assert!(charts[0].svg.contains("a&lt;b") && !charts[0].svg.contains("a<b"));
    }
}
