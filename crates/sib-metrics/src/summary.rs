//! Streaming mean and standard error.

use serde::{Deserialize, Serialize};

/// Count, mean and standard error of a stream of values, without keeping them.
///
/// The mean is the sum over the count, so that percentages of whole images come out exact; squares
/// follow Welford's update (1962, doi:10.1080/00401706.1962.10490022). Two summaries merge by the
/// pairwise formula of Chan, Golub & LeVeque (1983, doi:10.1080/00031305.1983.10483115). The result depends
/// on the order of the values in the last bits only; the same order gives the same bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    n: u64,
    sum: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
}

impl Summary {
    /// The summary of no values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of `n` values with this sum, and sum of squared deviations from their mean.
    pub fn from_sums(n: u64, sum: f64, deviations: f64) -> Self {
        Self { n, sum, squares: deviations }
    }

    /// Adds one value.
    pub fn push(&mut self, value: f64) {
        let deviation = self.mean().map_or(0.0, |mean| value - mean);
        self.n += 1;
        self.sum += value;
        self.squares += deviation * (value - self.sum / self.n as f64);
    }

    /// Adds the values of another summary.
    pub fn merge(&mut self, other: &Self) {
        if let (Some(mean), Some(other_mean)) = (self.mean(), other.mean()) {
            let (n, m) = (self.n as f64, other.n as f64);
            self.squares += (other_mean - mean).powi(2) * n * m / (n + m);
        }
        self.n += other.n;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// How many values there were.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The sum; 0 of no values.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The sum of squared deviations from the mean; 0 of fewer than two values.
    pub fn deviations(&self) -> f64 {
        self.squares
    }

    /// The mean; `None` of no values.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / self.n as f64)
    }

    /// The unbiased variance; `None` of fewer than two values.
    pub fn variance(&self) -> Option<f64> {
        (self.n > 1).then(|| self.squares / (self.n - 1) as f64)
    }

    /// The standard error of the mean, `sqrt(variance / n)`; `None` of fewer than two values.
    pub fn standard_error(&self) -> Option<f64> {
        self.variance().map(|variance| (variance / self.n as f64).sqrt())
    }
}

impl Extend<f64> for Summary {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.push(value));
    }
}

impl FromIterator<f64> for Summary {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut summary = Self::new();
        summary.extend(values);
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_few_values_in_closed_form() {
        let none = Summary::new();
        assert_eq!((none.mean(), none.standard_error()), (None, None));
        let one: Summary = [3.0].into_iter().collect();
        assert_eq!((one.mean(), one.standard_error()), (Some(3.0), None));
        let four: Summary = [1.0, 2.0, 3.0, 4.0].into_iter().collect();
        assert_eq!((four.n(), four.mean()), (4, Some(2.5)));
        assert!((four.standard_error().unwrap() - (5.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn keeps_its_digits_far_from_zero() {
        // The textbook E[x²] - E[x]² would lose all of them here.
        let far: Summary = (0..1000).map(|i| 1e9 + f64::from(i % 2)).collect();
        let variance = 0.25 * 1000.0 / 999.0;
        assert!((far.variance().unwrap() - variance).abs() < 1e-6 * variance);
    }

    proptest! {
        #[test]
        fn merging_equals_streaming(
            values in prop::collection::vec(-1e3f64..1e3, 0..60),
            cuts in (0usize..60, 0usize..60),
        ) {
            let (a, b) = (cuts.0.min(values.len()), cuts.1.min(values.len()));
            let (a, b) = (a.min(b), a.max(b));
            let part = |range: std::ops::Range<usize>| values[range].iter().copied().collect();
            let parts: [Summary; 3] = [part(0..a), part(a..b), part(b..values.len())];
            let whole: Summary = part(0..values.len());

            let mut left = parts[0];
            left.merge(&parts[1]);
            left.merge(&parts[2]);
            let mut tail = parts[1];
            tail.merge(&parts[2]);
            let mut right = parts[0];
            right.merge(&tail);

            for merged in [left, right] {
                prop_assert_eq!(merged.n, whole.n);
                // Rounding of sums of 60 values up to 1e3, squared up to 1e6.
                prop_assert!((merged.sum - whole.sum).abs() < 1e-10);
                prop_assert!((merged.squares - whole.squares).abs() < 1e-6);
            }
        }
    }
}
