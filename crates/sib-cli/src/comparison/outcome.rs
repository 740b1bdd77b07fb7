//! What of an evaluation is compared.

use std::collections::BTreeMap;

use sib_explain::Method;

use crate::evaluation::suite::Suite;
use crate::evaluation::summary_row::SummaryRow;
use crate::results::titles::method_label;
use crate::tables::Number;

/// A metric of one method, of several in the mean, or of the network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome {
    /// Place of the metric among those of its suite.
    metric_place: usize,
    of: Of,
    /// The metric in `summary.csv`.
    pub metric: &'static str,
    /// The same in words.
    pub title: &'static str,
    /// Digits after the point.
    pub digits: usize,
}

/// Whose metric it is, in the order in which they are shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Network,
    Method(usize, String),
    Mean(Kind),
}

/// Methods in the mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Gradients,
    ClassActivation,
    All,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Gradients, Self::ClassActivation, Self::All];

    fn name(self) -> &'static str {
        match self {
            Self::Gradients => "mean-of-gradient-maps",
            Self::ClassActivation => "mean-of-class-activation-maps",
            Self::All => "mean-of-all",
        }
    }

    fn has(self, method: &str) -> bool {
        // Guided GradCAM is of both kinds, and heatmaps from elsewhere are of none that is known.
        let members: &[Method] = match self {
            Self::Gradients => &[
                Method::Saliency,
                Method::GuidedBackprop,
                Method::IntegratedGradients,
                Method::SIbMap,
                Method::InputXGradient,
                Method::SmoothGrad,
            ],
            Self::ClassActivation => {
                &[Method::GradCam, Method::GradCamPlusPlus, Method::ScoreCam, Method::LayerCam]
            }
            Self::All => return true,
        };
        members.iter().any(|member| member.name() == method)
    }
}

impl Outcome {
    /// The method, a mean of methods, or nothing.
    pub fn method(&self) -> &str {
        match &self.of {
            Of::Network => "",
            Of::Method(_, method) => method,
            Of::Mean(kind) => kind.name(),
        }
    }

    /// What it is in words.
    pub fn in_words(&self) -> String {
        let method = match &self.of {
            Of::Network => return self.title.to_owned(),
            Of::Method(_, method) => method_label(method).1,
            Of::Mean(Kind::Gradients) => "mean of gradient maps".to_owned(),
            Of::Mean(Kind::ClassActivation) => "mean of class-activation maps".to_owned(),
            Of::Mean(Kind::All) => "mean of all maps".to_owned(),
        };
        format!("{method}, {}", self.title)
    }
}

/// The outcomes of `suite` that have a value in a network's `summary`. Means are over its own methods, where all have
/// one.
pub(super) fn outcomes(summary: &[&SummaryRow], suite: Suite) -> Vec<(Outcome, f64)> {
    let tables = [Number::Two, Number::Three, Number::Four, Number::Five];
    let metrics =
        tables.into_iter().filter(|table| table.suite() == suite).flat_map(Number::metrics);
    let mut all = Vec::new();
    for (metric_place, metric) in metrics.enumerate() {
        let outcome = |of| Outcome {
            metric_place,
            of,
            metric: metric.ours,
            title: metric.title,
            digits: metric.digits,
        };
        let rows = summary.iter().filter(|row| row.metric == metric.ours);
        let by_method: BTreeMap<&str, Option<f64>> =
            rows.map(|row| (row.method.as_str(), row.value)).collect();
        for (&method, value) in &by_method {
            let place = || Of::Method(method_label(method).0, method.to_owned());
            let of = if method.is_empty() { Of::Network } else { place() };
            all.extend(value.map(|value| (outcome(of), value)));
        }
        for kind in Kind::ALL {
            let members =
                by_method.iter().filter(|(method, _)| !method.is_empty() && kind.has(method));
            let values: Option<Vec<f64>> = members.map(|(_, value)| *value).collect();
            let values = values.unwrap_or_default();
            if values.len() > 1 {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                all.push((outcome(Of::Mean(kind)), mean));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_paper_is_of_one_kind_and_heatmaps_from_elsewhere_of_none() {
        let kinds = |method: &str| {
            [Kind::Gradients, Kind::ClassActivation]
                .into_iter()
                .filter(|kind| kind.has(method))
                .count()
        };
        assert!(Method::PAPER.iter().all(|method| kinds(method.name()) == 1));
        assert_eq!((kinds("theirs"), kinds(Method::GuidedGradCam.name())), (0, 0));
        assert!(Kind::All.has("theirs"));
    }
}
