//! The measures of information between regions of image and R.

use clap::ValueEnum;

use crate::evaluation::suites::information::NULL;

/// Which measure a figure shows: the paper names none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Estimator {
    /// Biased linear HSIC, what the foreground term and Table 3 are made of
    #[default]
    Hsic,
    /// Centred kernel alignment, from 0 to 1
    Cka,
    /// Matrix-based Rényi mutual information in bits
    Renyi,
}

/// A region of the image, or of R.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Region {
    Foreground,
    Background,
}

impl Region {
    pub(super) const ALL: [Self; 2] = [Self::Foreground, Self::Background];

    /// Its subscript, in labels and names of metrics.
    pub(super) fn subscript(self) -> &'static str {
        match self {
            Self::Foreground => "fg",
            Self::Background => "bg",
        }
    }
}

/// I(X_x; R_r) as labels show it.
pub(super) fn information(x: &str, r: &str) -> String {
    format!("I(X_{{{x}}}; R_{{{r}}})")
}

/// What a figure of information shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shown {
    /// By which measure.
    pub estimator: Estimator,
    /// Whether what random pairs of image and R come to is taken off.
    pub above_random: bool,
}

impl Shown {
    /// I(X_x; R_r), where `value` gives metrics by name; `None` where one is not there.
    pub(super) fn of(
        self,
        x: Region,
        r: Region,
        value: impl Fn(&str) -> Option<f64>,
    ) -> Option<f64> {
        let name = self.estimator.metric(x, r);
        let null = if self.above_random { value(&format!("{name}{NULL}"))? } else { 0.0 };
        Some(value(&name)? - null)
    }

    /// The title of its axis.
    pub(super) fn axis(self) -> String {
        let above = if self.above_random { " above random pairs" } else { "" };
        format!("Information{above} ({})", self.estimator.unit())
    }

    /// What it is, for batches of so many images: all measures depend on their number.
    pub(super) fn note(self, batch_size: Option<u64>) -> String {
        let above = " Less the mean for random pairs of image and R.";
        let above = if self.above_random { above } else { "" };
        format!("{}{above}", self.estimator.note(batch_size))
    }
}

impl Estimator {
    /// The metric of I(X_x; R_r) in `metrics.csv` and `summary.csv`.
    pub(super) fn metric(self, x: Region, r: Region) -> String {
        let measure = match self {
            Self::Hsic => "hsic",
            Self::Cka => "cka",
            Self::Renyi => "renyi_bits",
        };
        format!("{measure}_x_{}_r_{}", x.subscript(), r.subscript())
    }

    /// What stands beside a quantity on its axis.
    fn unit(self) -> &'static str {
        match self {
            Self::Hsic => "HSIC",
            Self::Cka => "CKA",
            Self::Renyi => "bits",
        }
    }

    /// What it is, for batches of so many images: all three depend on their number.
    fn note(self, batch_size: Option<u64>) -> String {
        let batches =
            batch_size.map_or(String::new(), |size| format!(", batches of {size} images"));
        match (self, batch_size) {
            (Self::Hsic, Some(size)) if size > 1 => format!(
                "Biased linear HSIC (no unit){batches}; 1/(B−1) = {:.4} if all are unlike.",
                1.0 / (size - 1) as f64
            ),
            (Self::Hsic, _) => format!("Biased linear HSIC (no unit){batches}."),
            (Self::Cka, _) => format!("Centred kernel alignment (0 to 1){batches}."),
            (Self::Renyi, _) => {
                format!("Matrix-based Rényi mutual information, α = 1.01, in bits{batches}.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::suites::information::MEASURES;
    use crate::training::held_out;

    #[test]
    fn above_random_is_what_is_left_without_random_pairs() {
        let values = |name: &str| match name {
            "cka_x_fg_r_bg" => Some(0.5),
            "cka_x_fg_r_bg_null" => Some(0.375),
            "cka_x_bg_r_bg" => Some(0.25),
            _ => None,
        };
        let shown = Shown { estimator: Estimator::Cka, above_random: true };
        let [fg, bg] = Region::ALL;
        assert_eq!(shown.of(fg, bg, values), Some(0.125));
        assert_eq!(shown.of(bg, bg, values), None);
        let plain = Shown { above_random: false, ..shown };
        assert_eq!((plain.of(bg, bg, values), plain.of(fg, fg, values)), (Some(0.25), None));
    }

    #[test]
    fn the_metrics_are_those_that_are_logged() {
        let logged = held_out::names(10, true);
        for estimator in Estimator::value_variants() {
            for x in Region::ALL {
                for r in Region::ALL {
                    let name = estimator.metric(x, r);
                    assert!(logged.contains(&name), "{name}");
                    assert!(MEASURES.iter().any(|(measure, _)| *measure == name), "{name}");
                }
            }
        }
    }
}
