//! Whether paired differences, of seeds or of images, have a mean other than zero.

use serde::{Deserialize, Serialize};

use crate::summary::Summary;

/// Student's paired t-test of the hypothesis that the mean difference is zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairedTest {
    /// How many pairs there were.
    pub n: u64,
    /// Mean of the differences.
    pub mean: f64,
    /// Standard error of that mean.
    pub standard_error: f64,
    /// Two-sided p-value, in [0, 1].
    pub p_value: f64,
}

/// A standard error smaller than this, relative to the mean, is that of equal differences.
const ROUND_OFF: f64 = 1e-13;

impl PairedTest {
    /// Tests the differences of pairs; `None` of fewer than two, or where all are equal up to
    /// round-off.
    pub fn of(differences: impl IntoIterator<Item = f64>) -> Option<Self> {
        let summary: Summary = differences.into_iter().collect();
        let (n, mean, standard_error) = (summary.n(), summary.mean()?, summary.standard_error()?);
        (standard_error > ROUND_OFF * mean.abs()).then(|| {
            let p_value = two_sided_p(mean / standard_error, (n - 1) as f64);
            Self { n, mean, standard_error, p_value }
        })
    }
}

/// p-values of several tests, each corrected for their number (Holm 1979, Scand. J. Stat. 6:65): in ascending order each
/// is multiplied by the number of those not below it, and is none below its predecessor. In the order given.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut ascending: Vec<usize> = (0..p_values.len()).collect();
    ascending.sort_by(|&one, &other| p_values[one].total_cmp(&p_values[other]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut least = 0.0;
    for (place, index) in ascending.into_iter().enumerate() {
        least = f64::max(least, p_values[index] * (p_values.len() - place) as f64).min(1.0);
        corrected[index] = least;
    }
    corrected
}

/// P(|T| > |t|) of Student's distribution with `freedom` degrees of freedom, a whole number: the
/// regularised incomplete beta function I_x(freedom/2, 1/2) at x = freedom/(freedom + t²).
fn two_sided_p(t: f64, freedom: f64) -> f64 {
    let (a, b) = (freedom / 2.0, 0.5);
    let x = freedom / (freedom + t * t);
    // The continued fraction converges fast on its own side of the distribution's bulk only.
    if x < (a + 1.0) / (a + b + 2.0) {
        incomplete_beta(x, a, b)
    } else {
        1.0 - incomplete_beta(t * t / (freedom + t * t), b, a)
    }
}

/// I_x(a, b) by the continued fraction DLMF 8.17.22 (<https://dlmf.nist.gov/8.17.E22>), evaluated
/// from the inside; 2a and 2b are whole numbers.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    // Far more terms than the order of sqrt(max(a, b)) that it takes.
    let terms = 200 + 10 * a.max(b).sqrt() as u32;
    let fraction = (0..terms).rev().map(f64::from).fold(1.0, |inner, m| {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let inner = 1.0 + odd / inner;
        if m > 0.0 { 1.0 + even / inner } else { inner }
    });
    let ln_beta = ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
    (a * x.ln() + b * (-x).ln_1p() - ln_beta).exp() / (a * fraction)
}

/// ln Γ(x) of a positive multiple of ½, by Γ(x + 1) = x·Γ(x) from Γ(½) = √π and Γ(1) = 1.
fn ln_gamma(x: f64) -> f64 {
    let (start, end) =
        if x.fract() == 0.0 { (1.0, 0.0) } else { (0.5, 0.5 * std::f64::consts::PI.ln()) };
    (0..(x - start) as u32).map(|step| (start + f64::from(step)).ln()).sum::<f64>() + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holms_correction_is_that_of_r() {
        // p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{corrected:?}");
        }
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn one_and_two_degrees_of_freedom_in_closed_form() {
        // The Cauchy distribution: 1 - 2·atan(t)/π; and 1 - t/sqrt(2 + t²).
        for t in [0.0, 0.01, 0.3, 1.0, 2.5, 40.0] {
            let cauchy = 1.0 - 2.0 * f64::atan(t) / std::f64::consts::PI;
            assert!((two_sided_p(t, 1.0) - cauchy).abs() < 1e-14, "{t}");
            let second = 1.0 - t / (2.0 + t * t).sqrt();
            assert!((two_sided_p(-t, 2.0) - second).abs() < 1e-14, "{t}");
        }
    }

    #[test]
    fn what_cannot_be_tested_has_no_result() {
        assert_eq!(PairedTest::of([]), None);
        assert_eq!(PairedTest::of([1.0]), None);
        assert_eq!(PairedTest::of([0.5, 0.5, 0.5]), None);
        assert_eq!(PairedTest::of([0.3, 0.1 + 0.2, 0.3]), None);
    }
}
