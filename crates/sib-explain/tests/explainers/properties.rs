//! What holds for every method, whatever the images.

use proptest::prelude::*;
use sib_core::testing::{formula_tensor, relative_difference, test_device};
use sib_core::{Backbone, Error, Result};
use sib_explain::{Explainer, Method, MethodOptions, Target, explain_or_nan};
use tch::{Kind, Tensor};

use crate::toys::{self, CONVOLUTIONAL, Toy, images};

fn methods() -> impl Iterator<Item = Method> {
    Method::ALL.into_iter()
}

fn options(batch_size: i64) -> MethodOptions {
    let mut options = MethodOptions { batch_size: Some(batch_size), ..Default::default() };
    options.set("smooth-grad.samples=2").unwrap();
    options.set("integrated-gradients.steps=7").unwrap();
    options
}

#[test]
fn batched_equals_looped_whatever_the_chunks() {
    let x = images(5, 8).to(test_device());
    let targets = Tensor::from_slice(&[0i64, 4, 2, 2, 1]);
    for method in methods() {
        let explain = |batch_size, x: &Tensor, targets: &Tensor| {
            let explainer = method.build(&options(batch_size)).unwrap();
            explainer.explain(&CONVOLUTIONAL, x, &Target::class(targets)).unwrap()
        };
        let batched = explain(64, &x, &targets);
        assert_eq!(batched.size(), [5, 8, 8], "{method}");
        assert!(batched.min().double_value(&[]) >= 0.0, "{method}");
        assert!(!batched.requires_grad(), "{method}");
        let looped: Vec<_> =
            (0..5).map(|i| explain(64, &x.narrow(0, i, 1), &targets.narrow(0, i, 1))).collect();
        let difference = relative_difference(&Tensor::cat(&looped, 0), &batched);
        // f64; only the order of sums differs.
        assert!(difference < 1e-10, "{method}: {difference}");
        let chunked = relative_difference(&explain(2, &x, &targets), &batched);
        assert!(chunked < 1e-10, "{method} in chunks: {chunked}");
    }
}

#[test]
fn f32_agrees_with_f64_and_keeps_its_kind() {
    let x = images(2, 8);
    let targets = Tensor::from_slice(&[3i64, 1]);
    for method in methods() {
        let explainer = method.build(&options(8)).unwrap();
        let double = explainer.explain(&CONVOLUTIONAL, &x, &Target::class(&targets)).unwrap();
        let single = explainer
            .explain(&CONVOLUTIONAL, &x.to_kind(Kind::Float), &Target::class(&targets))
            .unwrap();
        assert_eq!(single.kind(), Kind::Float, "{method}");
        let difference = relative_difference(&single, &double);
        // 24 bits through a dozen operations; no ReLU of these inputs is that close to its kink.
        assert!(difference < 1e-5, "{method}: {difference}");
    }
}

#[test]
fn an_explanation_needs_no_ambient_gradient_mode_and_leaves_none() {
    let x = images(1, 8);
    let targets = Tensor::from_slice(&[3i64]);
    for method in methods() {
        let explainer = method.build(&options(8)).unwrap();
        let expected = explainer.explain(&CONVOLUTIONAL, &x, &Target::class(&targets)).unwrap();
        let found = tch::no_grad(|| {
            explainer.explain(&CONVOLUTIONAL, &x, &Target::class(&targets)).unwrap()
        });
        assert!(relative_difference(&found, &expected) < 1e-12, "{method}");
        let leaf = Tensor::ones([1], (Kind::Float, x.device())).set_requires_grad(true);
        assert!((leaf * 2.0).requires_grad(), "{method}");
        assert!(!x.requires_grad(), "{method}");
    }
}

#[test]
fn bad_inputs_are_named() {
    let x = images(2, 8);
    let targets = Tensor::from_slice(&[3i64, 1]);
    let empty = Tensor::zeros([0, 3, 8, 8], (Kind::Float, x.device()));
    for method in methods() {
        let explainer = method.build(&options(8)).unwrap();
        let explain = |x: &Tensor, targets: &Tensor| {
            explainer.explain(&CONVOLUTIONAL, x, &Target::class(targets))
        };
        for (x, targets) in [
            (x.get(0), targets.shallow_clone()),
            (x.to_kind(Kind::Uint8), targets.shallow_clone()),
            (empty.shallow_clone(), targets.narrow(0, 0, 0)),
            (x.shallow_clone(), targets.narrow(0, 0, 1)),
            (x.shallow_clone(), targets.to_kind(Kind::Float)),
        ] {
            let error = explain(&x, &targets).unwrap_err();
            assert!(matches!(error, Error::Shape { .. }), "{method}: {error}");
        }
        for outside in [-1i64, 5] {
            let error = explain(&x, &Tensor::from_slice(&[0, outside])).unwrap_err();
            let expected = format!("target: got {outside}, expected a class index from 0 to 4");
            assert_eq!(error.to_string(), expected, "{method}");
        }
        let _ = method
            .build(&options(0))
            .unwrap()
            .explain(&CONVOLUTIONAL, &x, &Target::class(&targets))
            .unwrap_err();
    }
}

#[test]
fn overflow_is_an_error_and_never_a_nan_map() {
    const OVERFLOWING: Toy = Toy(|x, probe| {
        let rectified = probe.relu(x);
        let a = probe.tap("features", rectified);
        a.mean_dim([2, 3].as_slice(), false, None::<Kind>) / 0.0
    });
    let x = images(2, 8);
    let targets = Tensor::from_slice(&[0i64, 1]);
    for method in [Method::Saliency, Method::IntegratedGradients, Method::GradCam] {
        let error =
            method.build(&options(8)).unwrap().explain(&OVERFLOWING, &x, &Target::class(&targets));
        let message = error.unwrap_err().to_string();
        assert_eq!(message, "the heatmap of image 1 of 2 is not finite", "{method}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Guided gradients on a network of positive weights have nothing to cut but dead units.
    #[test]
    fn guided_backprop_of_a_positive_network_is_its_gradient(name in "[a-z]{8}", size in 3i64..7) {
        const POSITIVE: Toy = Toy(|x, probe| {
            let kernel = formula_tensor("positive", &[4, 3, 3, 3]).abs();
            let a = x.conv2d::<Tensor>(&kernel, None, &[1, 1], &[1, 1], &[1, 1], 1);
            probe.relu(&a).mean_dim([2, 3].as_slice(), false, None::<Kind>)
        });
        let x = formula_tensor(&name, &[2, 3, size, size]);
        let targets = Tensor::from_slice(&[0i64, 3]);
        let explain = |method: Method| {
            let explainer = method.build(&MethodOptions::default()).unwrap();
            explainer.explain(&POSITIVE, &x, &Target::class(&targets)).unwrap()
        };
        let (guided, plain) = (explain(Method::GuidedBackprop), explain(Method::Saliency));
        prop_assert!(relative_difference(&guided, &plain) < 1e-12);
    }

    /// Σ IG = z(x) − z(x') for a polynomial of the degree the rule is exact for.
    #[test]
    fn integrated_gradients_of_a_cubic_are_complete_with_two_nodes(name in "[a-z]{8}") {
        const CUBIC: Toy = Toy(|x, _| {
            x.pow_tensor_scalar(3).sum_dim_intlist([1, 2, 3].as_slice(), false, None::<Kind>)
                .unsqueeze(1)
        });
        let x = formula_tensor(&name, &[2, 3, 4, 4]);
        let explainer = sib_explain::IntegratedGradients {
            steps: 2,
            rule: sib_explain::QuadratureRule::GaussLegendre,
            baseline: sib_explain::Baseline::Constant(0.3),
            batch_size: 3,
        };
        let targets = Tensor::from_slice(&[0i64, 0]);
        let complete = explainer.with_completeness(&CUBIC, &x, &Target::class(&targets)).unwrap();
        prop_assert!(complete.residual.abs().max().double_value(&[]) < 1e-12);
    }
}

/// The first channel; refuses a batch with a pixel that is not finite.
#[derive(Debug)]
struct FirstChannel;

impl Explainer for FirstChannel {
    fn explain(&self, _: &dyn Backbone, images: &Tensor, _: &Target) -> Result<Tensor> {
        let map = images.select(1, 0);
        match bool::try_from(map.isfinite().all())? {
            true => Ok(map),
            false => Err(Error::NonFinite { what: "a pixel".to_owned() }),
        }
    }
}

#[test]
fn an_image_without_a_map_leaves_the_others_theirs() {
    let images = toys::images(3, 2);
    let targets = Tensor::zeros([3], (Kind::Int64, images.device()));
    let _ = images.get(1).fill_(f64::INFINITY);
    let target = Target::class(&targets);
    let maps = explain_or_nan(&FirstChannel, &toys::LINEAR, &images, &target).unwrap();
    assert_eq!(maps.size(), [3, 2, 2]);
    assert!(maps.get(0).equal(&images.get(0).get(0)) && maps.get(2).equal(&images.get(2).get(0)));
    assert!(bool::try_from(maps.get(1).isnan().all()).unwrap());
}
