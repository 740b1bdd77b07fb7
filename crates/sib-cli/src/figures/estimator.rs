//! The measures of information between regions of image and R.

use clap::ValueEnum;

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
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Hsic => "HSIC",
            Self::Cka => "CKA",
            Self::Renyi => "bits",
        }
    }

    /// What it is, for batches of so many images: all three depend on their number.
    pub(super) fn note(self, batch_size: Option<u64>) -> String {
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
