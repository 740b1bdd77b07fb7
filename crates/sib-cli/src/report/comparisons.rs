//! Insertion and deletion curves of a baseline and of other networks in one chart, a method each.

use std::collections::BTreeMap;

use anyhow::Result;

use super::curves::{GroupView, chart, drawn, on_chart};
use crate::csv_rows;
use crate::draw::chart::{LineChart, Series};
use crate::draw::colour::Dash;
use crate::draw::style::Style;
use crate::evaluation::files::CURVES;
use crate::evaluation::suite::Suite;
use crate::evaluation::suites::{CurvePoint, PATHS};
use crate::left_out::LeftOut;
use crate::network::Network;
use crate::results::compare::alike;
use crate::results::titles::{arch_label, dataset_label, method_label};
use crate::results::{Called, Evaluation};

/// Charts for each baseline and the networks of its training seed that were evaluated alike.
pub(super) fn views(evaluations: &[Evaluation], left_out: &mut LeftOut) -> Vec<GroupView> {
    let view = |title, compared: Vec<&Evaluation>| {
        let curves = |of: &Evaluation| csv_rows::read(&of.path.join(CURVES));
        let of_all = compared.into_iter().map(|of| Ok((of.called.clone(), curves(of)?)));
        let charts = charts(&of_all.collect::<Result<Vec<_>>>()?);
        let charts = charts.into_iter().filter_map(drawn).collect::<Result<_>>()?;
        Ok(GroupView { title, charts })
    };
    let compared = left_out.read(compared(evaluations)).unwrap_or_default();
    compared.into_iter().filter_map(|(title, all)| left_out.read(view(title, all))).collect()
}

/// What a baseline and other networks have in common, in words, and their evaluations.
fn compared(evaluations: &[Evaluation]) -> Result<Vec<(String, Vec<&Evaluation>)>> {
    let mut all = BTreeMap::<(String, usize), Vec<&Evaluation>>::new();
    for (set, members) in alike(evaluations, Suite::Faithfulness)?.into_iter().enumerate() {
        let mut networks = BTreeMap::<String, Vec<&Evaluation>>::new();
        for evaluation in members.into_iter().filter(|of| of.path.join(CURVES).is_file()) {
            let Network { arch, train_seed, .. } = &evaluation.description.network;
            let dataset = dataset_label(evaluation.description.dataset.name.as_str()).1;
            let seed = train_seed.map_or(String::new(), |seed| format!(", seed {seed}"));
            let title = format!("{dataset}, {}{seed}", arch_label(arch).1);
            networks.entry(title).or_default().push(evaluation);
        }
        for (title, members) in networks {
            all.extend(one_each(members).map(|members| ((title, set), members)));
        }
    }
    Ok(all.into_iter().map(|((title, _), members)| (title, members)).collect())
}

/// The baseline and the other networks, where there is one of each.
fn one_each(mut members: Vec<&Evaluation>) -> Option<Vec<&Evaluation>> {
    members.sort_by(|a, b| a.called.cmp(&b.called));
    let distinct = members.windows(2).all(|two| two[0].called < two[1].called);
    let compares = members.first().is_some_and(|of| of.called.is_baseline()) && members.len() > 1;
    (distinct && compares).then_some(members)
}

/// A chart for each method, with lines for each path of each network.
fn charts(curves: &[(Called, Vec<CurvePoint>)]) -> Vec<LineChart> {
    let first = curves.first().map_or(&[][..], |(_, points)| points);
    let mut methods: Vec<&str> = first.iter().map(|point| point.method.as_str()).collect();
    methods.dedup();
    let of_method = |method: &str| {
        let mut series = Vec::new();
        for (path, dash) in PATHS.into_iter().zip([Dash::Solid, Dash::Dashed]) {
            for (network, points) in curves {
                let here = points.iter().filter(|of| of.method == method && of.path == path);
                series.push(Series {
                    label: format!("{}, {path}", network.title),
                    points: here.map(on_chart).collect(),
                    style: Style { dash, ..Style::nth(network.place) },
                });
            }
        }
        let title = method_label(method).1;
        chart(&title, "pixels changed, %", "class probability, %", series)
    };
    methods.into_iter().map(of_method).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Training;

    #[test]
    fn each_method_has_a_chart_of_both_trainings_and_both_paths() {
        let points = |methods: &[&str]| -> Vec<CurvePoint> {
            let point = |method: &str, path: &str| CurvePoint {
                method: method.to_owned(),
                path: path.to_owned(),
                changed_frac: 0.5,
                mean: 0.25,
                standard_error: None,
                n: 1,
            };
            methods.iter().flat_map(|method| PATHS.map(|path| point(method, path))).collect()
        };
        let curves = [
            (Training::Baseline.into(), points(&["saliency", "grad-cam"])),
            (Training::SIb.into(), points(&["saliency"])),
        ];
        let charts = charts(&curves);
        let labels = |chart: &LineChart| -> Vec<String> {
            chart.series.iter().map(|series| series.label.clone()).collect()
        };
        assert_eq!((charts.len(), charts[0].title.as_str()), (2, "Saliency"));
        let both =
            ["Baseline, insertion", "S-IB, insertion", "Baseline, deletion", "S-IB, deletion"];
        assert_eq!(labels(&charts[0]), both);
        assert_eq!(labels(&charts[1]), [both[0], both[2]]);
        assert_eq!(
            (charts[0].series[0].points[0].x, charts[0].series[0].points[0].mean),
            (50.0, 25.0)
        );
    }
}
