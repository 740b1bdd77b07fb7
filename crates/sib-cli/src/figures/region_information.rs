//! Figure 5: information between the regions of image and R, a baseline beside other networks.

use anyhow::{Result, anyhow};
use sib_metrics::Summary;

use super::Drawn;
use super::estimator::{Region, Shown, information};
use super::notes::{common, lengths_note, seeds_note};
use super::palette;
use crate::draw::axis::AxisOptions;
use crate::draw::bars::{Bar, BarChart, BarSeries};
use crate::draw::panels::Page;
use crate::error::with_hint;
use crate::evaluation::suite::Suite;
use crate::evaluation::suites::information::{NULL, Z};
use crate::left_out::LeftOut;
use crate::results::compare::{Group, Measured, Origin, grouped};
use crate::results::seeds::over_seeds;
use crate::results::{Called, Evaluation, Folders};

/// The pairs of regions in their order.
type Pairs = [Option<Informed>; 4];

/// What was measured of a pair of regions.
#[derive(Debug, Clone, Copy)]
struct Informed {
    value: f64,
    /// Over batches; above random pairs, over those.
    standard_error: Option<f64>,
    /// The mean for random pairs of image and R.
    null: Option<f64>,
}

/// The figure.
///
/// # Errors
/// When no finished evaluation in `folders` has the suite, or evaluations cannot be compared.
pub(super) fn draw(folders: &Folders, shown: Shown, left_out: &mut LeftOut) -> Result<Drawn> {
    let evaluations = folders.finished_evaluations(left_out)?;
    let with_suite: Vec<&Evaluation> =
        evaluations.iter().filter(|one| one.has(Suite::Information)).collect();
    if with_suite.is_empty() {
        let error = anyhow!("{folders}: no finished evaluation has suite information");
        return Err(with_hint(error, "sib-cli evaluate --suite information"));
    }
    let batch_size = |one: &&Evaluation| Some(one.description.settings.batch_size as u64);
    let batch_size = common(with_suite.iter().map(batch_size));
    let measured = with_suite.iter().map(|one| measured(one, shown));
    let groups = grouped(measured.collect::<Result<_>>()?)?;
    let charts: Vec<_> = groups.iter().map(|group| chart(group, shown)).collect();
    let one_seed = if shown.above_random {
        "One seed; bars: standard deviation over random pairs."
    } else {
        "One seed; bars: standard error over batches."
    };
    let has_null = !shown.above_random
        && with_suite.iter().flat_map(|one| &one.summary).any(|row| row.metric.ends_with(NULL));
    let note = format!(
        "{} {}{}{}",
        shown.note(batch_size),
        seeds_note(&groups, one_seed),
        if has_null { " Dashed: random pairs of image and R." } else { "" },
        lengths_note(&groups)
    );
    let over = move |note: &str| {
        Page::of(charts.iter().map(|chart| chart as _).collect(), note.to_owned()).to_svg()
    };
    Ok(Drawn { note, over: Box::new(over) })
}

/// Region of the image and of R.
fn pairs() -> [(Region, Region); 4] {
    use Region::{Background as Bg, Foreground as Fg};
    [(Fg, Fg), (Bg, Bg), (Fg, Bg), (Bg, Fg)]
}

fn measured(evaluation: &Evaluation, shown: Shown) -> Result<Measured<Pairs>> {
    let row = |metric: &str| {
        let suite = Suite::Information.name();
        evaluation.summary.iter().find(|row| row.suite == suite && row.metric == metric)
    };
    let by_name = |name: &str| row(name).and_then(|row| row.value);
    let value = |(x, r)| {
        let name = shown.estimator.metric(x, r);
        // Where it is taken off, it is at zero.
        let null = by_name(&format!("{name}{NULL}")).filter(|_| !shown.above_random);
        let value = shown.of(x, r, by_name)?;
        let standard_error = if shown.above_random {
            // z counts how many of them the value lies above: that of the values themselves is mostly of which images
            // a batch holds, which random pairs of its images share.
            by_name(&format!("{name}{Z}")).filter(|&z| z != 0.0).map(|z| value / z)
        } else {
            row(&name)?.standard_error
        };
        Some(Informed { value, standard_error, null })
    };
    let origin = Origin::of_evaluation(evaluation, Suite::Information)?;
    Ok(Measured { origin, values: pairs().map(value) })
}

fn chart(group: &Group<Pairs>, shown: Shown) -> BarChart {
    let series = |network: &Called| {
        let bar = |pair: usize| {
            let networks = || group.of(network).filter_map(|network| network.values[pair]);
            let (value, error) = over_seeds(networks().map(|of| (of.value, of.standard_error)))?;
            let null: Summary = networks().filter_map(|of| of.null).collect();
            Some(Bar { value, error, reference: null.mean() })
        };
        let colour = palette::colour(network);
        let tint = if network.is_baseline() { 0.35 } else { 0.85 };
        BarSeries {
            label: network.title.clone(),
            colour,
            fill: colour.tint(tint),
            bars: (0..4).map(bar).collect(),
        }
    };
    BarChart {
        title: group.title.clone(),
        groups: pairs().map(|(x, r)| information(x.subscript(), r.subscript())).into(),
        y: AxisOptions::new(shown.axis()),
        series: group.called().into_iter().map(series).collect(),
    }
}
