//! Whether a network's confidence is its accuracy (Guo et al. 2017, arXiv:1706.04599).

use sib_core::{Error, Result};
use tch::{Device, Kind, Tensor};

/// The temperatures among which [`fitted_temperature`] looks.
const TEMPERATURES: (f64, f64) = (0.02, 50.0);

/// The temperature T at which `softmax(z/T)` gives the labels the highest likelihood.
///
/// `logits` z: `[N,K]`; `labels`: `[N]`, integers in `0..K`. The mean of −log p is convex in 1/T; its root is bisected.
///
/// # Errors
/// The shapes do not fit, there is no image, a logit is not finite, or the likelihood has no maximum between 0.02 and
/// 50: where every image is predicted right, or nothing is learned.
pub fn fitted_temperature(logits: &Tensor, labels: &Tensor) -> Result<f64> {
    let &[images, _] = &logits.size()[..] else {
        return Err(Error::shape("logits", logits, "[N,K]"));
    };
    if images == 0 || labels.size() != [images] {
        return Err(Error::shape("labels", labels, "[N] with at least one image"));
    }
    let logits = logits.detach().to_device(Device::Cpu).to_kind(Kind::Double);
    if logits.isfinite().all().int64_value(&[]) == 0 {
        return Err(Error::NonFinite { what: "a logit".to_owned() });
    }
    let own = logits.f_gather(1, &labels.to_device(Device::Cpu).unsqueeze(1), false)?;
    // d/dβ of the mean of −log p at β = 1/T: what the network expects of a logit less the label's.
    let slope = |beta: f64| {
        let expected = (&logits * beta).softmax(-1, Kind::Double) * &logits;
        let expected = expected.sum_dim_intlist([1i64].as_slice(), true, Kind::Double);
        (expected - &own).mean(Kind::Double).double_value(&[])
    };
    let (mut low, mut high) = (1.0 / TEMPERATURES.1, 1.0 / TEMPERATURES.0);
    if slope(low) >= 0.0 || slope(high) <= 0.0 {
        let expected =
            format!("one between {} and {} that fits the labels", TEMPERATURES.0, TEMPERATURES.1);
        return Err(Error::invalid("temperature", "none", expected));
    }
    // Down to neighbouring numbers.
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if slope(middle) < 0.0 { low = middle } else { high = middle }
    }
    Ok(1.0 / low)
}

/// The expected calibration error of predictions with these confidences, of which those in `hits` are right: the mean
/// over the images of |accuracy − confidence| of their bin, with `bins` bins of one width; `None` of no image.
///
/// # Panics
/// Without bins.
pub fn calibration_error(
    predictions: impl IntoIterator<Item = (f64, bool)>,
    bins: usize,
) -> Option<f64> {
    assert!(bins > 0, "no bins");
    // Right predictions less confidence.
    let mut excess = vec![0.0; bins];
    let mut count = 0.0;
    for (confidence, is_hit) in predictions {
        // Guo's bins hold their upper bounds.
        let bin = ((confidence * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        excess[bin] += f64::from(u8::from(is_hit)) - confidence;
        count += 1.0;
    }
    (count > 0.0).then(|| excess.iter().map(|excess| excess.abs()).sum::<f64>() / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_classes_the_temperature_has_a_closed_form() {
        // Three of four images with z = (2, 0) are of class 0: p = 3/4 = σ(2/T), T = 2/ln 3.
        let logits = Tensor::from_slice2(&[[2.0, 0.0]; 4]);
        let labels = Tensor::from_slice(&[0i64, 0, 1, 0]);
        let fitted = fitted_temperature(&logits, &labels).unwrap();
        assert!((fitted - 2.0 / 3f64.ln()).abs() < 1e-12, "{fitted}");
        // Logits ten times as large ask for ten times the temperature.
        let tenfold = fitted_temperature(&(&logits * 10.0), &labels).unwrap();
        assert!((tenfold / fitted - 10.0).abs() < 1e-12, "{tenfold}");
    }

    #[test]
    fn labels_that_no_temperature_fits_are_refused() {
        let logits = Tensor::from_slice2(&[[2.0, 0.0], [0.0, 1.0]]);
        for labels in [[0i64, 1], [1, 0]] {
            let error = fitted_temperature(&logits, &Tensor::from_slice(&labels)).unwrap_err();
            assert!(error.to_string().starts_with("temperature: got none"), "{error}");
        }
        assert!(fitted_temperature(&logits, &Tensor::from_slice(&[0i64])).is_err());
        assert!(fitted_temperature(&(logits * f64::NAN), &Tensor::from_slice(&[0i64, 0])).is_err());
    }

    #[test]
    fn the_calibration_error_by_hand() {
        // Bins (0.5, 0.75]: 0.6 and 0.75, one right: |1 − 1.35|; (0.75, 1]: 1.0, right: 0.
        let predictions = [(0.6, true), (0.75, false), (1.0, true)];
        let error = calibration_error(predictions, 4).unwrap();
        assert!((error - 0.35 / 3.0).abs() < 1e-15, "{error}");
        // One bin: accuracy 2/3 less the mean confidence.
        let error = calibration_error(predictions, 1).unwrap();
        assert!((error - (2.35f64 - 2.0) / 3.0).abs() < 1e-15, "{error}");
        assert_eq!(calibration_error([], 15), None);
    }
}
