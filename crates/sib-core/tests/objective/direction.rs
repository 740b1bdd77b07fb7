//! Where R has a direction, and that f32 keeps it as far as f64 does (decision N7).

use sib_core::objective::{LEAST_DOUBT, MaskConfig, Normalise, Scalar, VjpConfig, unit_scale};
use sib_core::testing::{formula_tensor, relative_difference};
use sib_core::{Backbone, Error, Mode, tensor::scalar};
use tch::{Kind, Tensor};

use crate::nets::SmoothNet;

const CLASSES: i64 = 5;

/// A network whose logits are `factor` times those of the formula, in `kind`.
fn net(factor: f64, kind: Kind) -> SmoothNet {
    let mut net = SmoothNet::new(CLASSES);
    for (name, weight) in &mut net.0 {
        let scale = if name.starts_with("4.") { factor } else { 1.0 };
        *weight = (weight.detach() * scale).to_kind(kind);
    }
    net
}

fn images(kind: Kind) -> Tensor {
    formula_tensor("direction", &[1, 3, 16, 16]).to_kind(kind).set_requires_grad(true)
}

fn vjp(config: &VjpConfig, net: &SmoothNet, kind: Kind) -> (Tensor, Tensor) {
    let images = images(kind);
    let logits = net.forward(&images, Mode::Eval);
    (config.vjp(&images, &logits, false).unwrap(), logits)
}

/// `Σ_k p_k(p_k − ‖p‖²)·∇z_k` in f64, up to a positive factor: the weights are divided by the second
/// highest probability and the winner's is minus the sum of the others, so that nothing cancels.
fn reference(net: &SmoothNet) -> Tensor {
    let images = images(Kind::Double);
    let logits = net.forward(&images, Mode::Eval);
    let p = logits.detach().softmax(-1, None::<Kind>);
    let weights = (&p * &p - &p * (&p * &p).sum(None::<Kind>)).get(0);
    let weights: Vec<f64> = weights.try_into().unwrap();
    let top = p.argmax(-1, false).int64_value(&[0]) as usize;
    let largest =
        (0..weights.len()).filter(|&k| k != top).map(|k| weights[k].abs()).fold(0.0, f64::max);
    let mut weights: Vec<f64> = weights.iter().map(|weight| weight / largest).collect();
    weights[top] = 0.0;
    weights[top] = -weights.iter().sum::<f64>();
    let product = (logits * Tensor::from_slice(&weights)).sum(None::<Kind>);
    Tensor::run_backward(&[product], &[images], false, false).swap_remove(0)
}

fn cosine(a: &Tensor, b: &Tensor) -> f64 {
    let [a, b] = [a, b].map(|r| unit_scale(&r.to_kind(Kind::Double)).flatten(0, -1));
    scalar(&a.dot(&b)) / scalar(&(a.norm() * b.norm()))
}

/// The factor at which the highest probability is 1 − `doubt`, nearly.
fn factor(doubt: f64) -> f64 {
    let logits = net(1.0, Kind::Double).forward(&images(Kind::Double), Mode::Eval);
    let two: Vec<f64> = logits.topk(2, -1, true, true).0.get(0).try_into().unwrap();
    -doubt.ln() / (two[0] - two[1])
}

fn doubt(logits: &Tensor) -> f64 {
    let (descending, _) = VjpConfig::default().posterior(logits).sort(-1, true);
    scalar(&descending.narrow(-1, 1, CLASSES - 1).sum(None::<Kind>))
}

#[test]
fn f32_keeps_the_direction_of_f64_down_to_the_bound() {
    for target in [1e-1, 1e-4, 1e-8, 1e-12, 1e-16, 1e-20, 1e-25, 3e-30] {
        let factor = factor(target);
        let expected = reference(&net(factor, Kind::Double));
        for kind in [Scalar::Posterior, Scalar::PosteriorDetached] {
            let config = VjpConfig { scalar: kind, ..VjpConfig::default() };
            for precision in [Kind::Float, Kind::Double] {
                let (r, logits) = vjp(&config, &net(factor, precision), precision);
                assert!(bool::try_from(config.is_directed(&r, &logits)).unwrap(), "{target:e}");
                // f32 rounds logits of up to 70: probabilities are off by 1e-5.
                let cosine = cosine(&r, &expected);
                assert!(cosine > 1.0 - 1e-9, "{kind:?} {precision:?} {target:e}: {cosine}");
            }
        }
        // The definition as it stands, in f64: it holds only while 1 - p is far above 1e-16.
        if target >= 1e-8 {
            let images = images(Kind::Double);
            let p =
                net(factor, Kind::Double).forward(&images, Mode::Eval).softmax(-1, None::<Kind>);
            let scalar = (&p * &p).sum(None::<Kind>) * 0.5;
            let plain = Tensor::run_backward(&[scalar], &[images], false, false).swap_remove(0);
            let (r, _) = vjp(&VjpConfig::default(), &net(factor, Kind::Double), Kind::Double);
            assert!(relative_difference(&r, &plain) < 1e-7, "{target:e}");
        }
    }
}

#[test]
fn beyond_the_bound_r_has_no_direction() {
    let config = VjpConfig::default();
    for (factor, directed) in [(factor(1e-28), true), (factor(1e-32), false), (1e6, false)] {
        let (r, logits) = vjp(&config, &net(factor, Kind::Float), Kind::Float);
        assert_eq!(doubt(&logits) >= LEAST_DOUBT, directed);
        assert_eq!(bool::try_from(config.is_directed(&r, &logits)).unwrap(), directed, "{factor}");
        // The logits have one, whatever the posterior.
        let logit = VjpConfig { scalar: Scalar::Logits, ..VjpConfig::default() };
        let (r, logits) = vjp(&logit, &net(factor, Kind::Float), Kind::Float);
        assert!(bool::try_from(logit.is_directed(&r, &logits)).unwrap(), "{factor}");
    }
    // Nor where the logits do not depend on the image; what is not finite is left to others.
    let (r, logits) = vjp(&config, &net(0.0, Kind::Float), Kind::Float);
    assert!(!bool::try_from(config.is_directed(&r, &logits)).unwrap());
    let nan = &r * f64::NAN;
    assert!(bool::try_from(config.is_directed(&nan, &(logits * f64::NAN))).unwrap());
    assert!(unit_scale(&nan).isnan().all().int64_value(&[]) == 1);
}

#[test]
fn one_class_is_refused_with_what_to_do() {
    for scalar in [Scalar::Posterior, Scalar::PosteriorDetached, Scalar::Logits] {
        let config = VjpConfig { scalar, ..VjpConfig::default() };
        let images = images(Kind::Float);
        let logits = SmoothNet::new(1).forward(&images.to_kind(Kind::Double), Mode::Eval);
        let r = config.vjp(&images, &logits, false);
        if scalar == Scalar::Logits {
            assert!(bool::try_from(config.is_directed(&r.unwrap(), &logits)).unwrap());
            continue;
        }
        let error = r.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }));
        let message = error.to_string();
        assert!(message.starts_with("classes: got 1, expected at least 2: "), "{message}");
        assert!(message.contains("vjp.scalar = \"logits\""), "{message}");
    }
}

#[test]
fn the_root_mean_square_of_a_small_r_is_one_too() {
    let config = VjpConfig { normalise: Normalise::Rms, ..VjpConfig::default() };
    // Squares of an R of 1e-22 are below the range of f32.
    for target in [1e-2, 1e-10, 1e-22] {
        let (r, _) = vjp(&config, &net(factor(target), Kind::Float), Kind::Float);
        let mean_square = scalar(&(&r * &r).mean(None::<Kind>));
        assert!((mean_square - 1.0).abs() < 1e-5, "{target:e}: {mean_square}");
    }
    let (r, _) = vjp(&config, &net(0.0, Kind::Float), Kind::Float);
    assert_eq!(scalar(&r.abs().max()), 0.0);
}

#[test]
fn at_unit_scale_the_guard_of_the_mask_does_not_count() {
    let r = formula_tensor("r", &[2, 3, 24, 24]).to_kind(Kind::Float);
    let density = |r: &Tensor| MaskConfig::default().apply(r).unwrap().density;
    let expected = density(&unit_scale(&r));
    let small = &r * 1e-30;
    assert!(relative_difference(&density(&unit_scale(&small)), &expected) < 1e-5);
    // As it is, the guard makes it a picture of the border.
    assert!(relative_difference(&density(&small), &expected) > 0.1);
}
