//! The information differential of Table 3 of the paper.

use crate::{Error, Result};

/// `exp(z)` of each model's d (see [`super::RegionInformation::difference`]) over the models that
/// are compared on one dataset, in their order; d is each model's mean over the evaluation set.
///
/// The standard deviation is that of a population (n, not n − 1): so the published values come out
/// (decision I1).
///
/// # Errors
/// With fewer than two models, with equal values only, or when a value is not finite.
pub fn exp_z_scores(differences: &[f64]) -> Result<Vec<f64>> {
    let n = differences.len();
    if n < 2 {
        return Err(Error::invalid("models to compare", n, "at least 2: a z-score is relative"));
    }
    if differences.iter().any(|d| !d.is_finite()) {
        return Err(Error::NonFinite { what: "a model's information difference".to_owned() });
    }
    let mean = differences.iter().sum::<f64>() / n as f64;
    let variance = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / n as f64;
    if variance == 0.0 {
        let expected = "information differences that are not all equal";
        return Err(Error::invalid("models to compare", differences[0], expected));
    }
    Ok(differences.iter().map(|d| ((d - mean) / variance.sqrt()).exp()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_values_are_population_z_scores() {
        // Table 3: ResNet-18, ResNet-50, DenseNet-121 and ViT-B/32, baseline and S-IB. z-scores of
        // z-scores are the same again, so the logarithms of a column of exp(z) give it back.
        for (dataset, column) in [
            ("CUB-200", [0.510, 0.614, 0.415, 1.191, 0.392, 0.613, 5.031, 5.307]),
            ("Oxford Pets", [1.732, 1.914, 0.327, 0.393, 0.343, 0.483, 3.728, 3.771]),
            ("Stanford Dogs", [1.435, 1.455, 0.207, 0.237, 0.768, 1.045, 3.465, 3.494]),
        ] {
            let scores = exp_z_scores(&column.map(f64::ln)).unwrap();
            for (score, published) in scores.iter().zip(column) {
                // Three decimals: up to 0.24 % of 0.207. With n − 1 the farthest are 8 to 11 % off.
                assert!((score / published - 1.0).abs() < 0.0024, "{dataset} {published}: {score}");
            }
        }
    }

    #[test]
    fn scale_and_offset_change_nothing() {
        let values = [3.0, -1.0, 0.5, 7.0];
        let scores = exp_z_scores(&values).unwrap();
        for (a, b) in exp_z_scores(&values.map(|d| 1e-4 * d + 0.02)).unwrap().iter().zip(scores) {
            assert!((a - b).abs() < 1e-9);
        }
    }

    #[test]
    fn what_has_no_z_score_is_refused() {
        for values in [&[][..], &[1.0], &[2.0, 2.0, 2.0], &[1.0, f64::NAN]] {
            assert!(exp_z_scores(values).is_err(), "{values:?}");
        }
    }
}
