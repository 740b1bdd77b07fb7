//! Which training seeds count, and what they come to together.

use sib_metrics::Summary;

/// Mean and standard error over seeds. Over one seed, the error is the value's own.
pub fn over_seeds(values: impl Iterator<Item = (f64, Option<f64>)>) -> Option<(f64, Option<f64>)> {
    let mut own_error = None;
    let summary: Summary =
        values.inspect(|(_, error)| own_error = *error).map(|(v, _)| v).collect();
    let error = if summary.n() == 1 { own_error } else { summary.standard_error() };
    Some((summary.mean()?, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_averaged_with_their_standard_error() {
        // Mean 2, deviations −1, 0, 1: variance 1, error 1/√3.
        let (mean, error) =
            over_seeds([1.0, 3.0, 2.0].map(|v| (v, Some(9.0))).into_iter()).unwrap();
        assert_eq!(mean, 2.0);
        assert!((error.unwrap() - 3f64.sqrt().recip()).abs() < 1e-15);
        assert_eq!(over_seeds([(4.0, Some(0.5))].into_iter()), Some((4.0, Some(0.5))));
        assert_eq!(over_seeds([(4.0, None)].into_iter()), Some((4.0, None)));
        assert_eq!(over_seeds(std::iter::empty()), None);
    }
}
