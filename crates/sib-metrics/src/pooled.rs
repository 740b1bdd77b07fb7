//! Ratios of the counts of all images together.

use std::iter::Sum;
use std::ops::Sub;

use crate::summary::Summary;

/// A ratio of pooled counts, with the jackknife's standard error: the spread of the ratio when each image
/// in turn is left out (Efron & Stein 1981, doi:10.1214/aos/1176345462).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pooled {
    /// The ratio of the sum of all counts; `None` where it is not defined.
    pub value: Option<f64>,
    /// Its standard error; `None` of fewer than two images.
    pub standard_error: Option<f64>,
}

impl Pooled {
    /// Of the counts of each image, in units of `1 / scale`: 100 for per cent.
    pub fn of<C>(counts: &[C], scale: f64, ratio: impl Fn(&C) -> Option<f64>) -> Self
    where
        C: Copy + Sum + Sub<Output = C>,
    {
        let total: C = counts.iter().copied().sum();
        let left_out: Summary = counts.iter().filter_map(|&one| ratio(&(total - one))).collect();
        // sqrt((n−1)/n · Σ(θ_i − mean)²), of which the variance is Σ/(n−1).
        let n = left_out.n() as f64;
        let error = left_out.variance().map(|variance| scale * (n - 1.0) * (variance / n).sqrt());
        Self { value: ratio(&total).map(|value| scale * value), standard_error: error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::localization::Confusion;

    fn counts(true_positive: u64, false_positive: u64) -> Confusion {
        Confusion { true_positive, false_positive, ..Confusion::default() }
    }

    #[test]
    fn of_images_of_one_size_it_is_the_mean_with_its_standard_error() {
        let shares = [1.0, 0.5, 0.25, 0.75];
        let all: Vec<Confusion> =
            [4, 2, 1, 3].into_iter().map(|right| counts(right, 4 - right)).collect();
        let pooled = Pooled::of(&all, 100.0, Confusion::pixel_accuracy);
        let mean: Summary = shares.into_iter().map(|share| 100.0 * share).collect();
        assert!((pooled.value.unwrap() - mean.mean().unwrap()).abs() < 1e-12);
        // A mean's jackknife is its standard error.
        let (jackknife, error) = (pooled.standard_error.unwrap(), mean.standard_error().unwrap());
        assert!((jackknife - error).abs() < 1e-12, "{jackknife} {error}");
    }

    #[test]
    fn larger_images_count_more_and_one_alone_has_no_error() {
        let both = [counts(1, 0), counts(1, 8)];
        let pooled = Pooled::of(&both, 1.0, Confusion::pixel_accuracy);
        assert_eq!(pooled.value, Some(0.2));
        // Left out in turn: 1/9 and 1.
        assert!((pooled.standard_error.unwrap() - 4.0 / 9.0).abs() < 1e-15);
        assert_eq!(Pooled::of(&both[..1], 1.0, Confusion::pixel_accuracy).standard_error, None);
        assert_eq!(Pooled::of(&[], 1.0, Confusion::pixel_accuracy), Pooled::default());
    }
}
