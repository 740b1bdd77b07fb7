//! Other scalars of the logits than a class's own: in closed form, by linearity, and against Captum and
//! pytorch-grad-cam, which take callables (scripts/golden/explain.py).

use std::collections::HashMap;

use sib_core::testing::{
    fill_by_formula, formula_tensor, golden_path, relative_difference, test_device,
};
use sib_core::{Backbone, Error, Mode};
use sib_explain::{
    Cam, CamContext, ChannelWeights, Explainer, GradCam, GradCamPlusPlus, InputAttribution,
    LayerCam, Method, MethodOptions, Saliency, ScoreCam, ScoreWeights, Target,
};
use sib_models::{Arch, Model, ModelOptions};
use tch::{Kind, Tensor};

use crate::toys::{CONVOLUTIONAL, LINEAR, TAPPED, images, linear_weights};

/// f64 arithmetic in another order than the other side's.
const ROUNDING: f64 = 1e-12;

#[track_caller]
fn assert_close(found: &Tensor, expected: &Tensor) {
    assert_eq!(found.size(), expected.size());
    let difference = relative_difference(found, expected);
    assert!(difference < ROUNDING, "relative difference {difference}");
}

fn cam<W>(weights: W) -> Cam<W> {
    Cam { weights, layer: None, rectify_activation: false, batch_size: 8 }
}

/// `log Σ_k exp z_k`.
fn free_energy() -> Target {
    Target::scalar(|logits| logits.logsumexp([1], false))
}

fn options(chosen: &[&str]) -> MethodOptions {
    let mut options = MethodOptions { batch_size: Some(2), ..MethodOptions::default() };
    chosen.iter().for_each(|option| options.set(option).unwrap());
    options
}

#[test]
fn gradients_of_a_linear_network_in_closed_form() {
    let x = images(3, 4);
    let (classes, others) =
        (Tensor::from_slice(&[2_i64, 0, 3]), Tensor::from_slice(&[1_i64, 3, 3]));
    let w = linear_weights(4); // [4,3,4,4]
    let (of_class, of_other) = (w.index_select(0, &classes), w.index_select(0, &others));
    let posterior = LINEAR.forward(&x, Mode::Eval).softmax(1, None::<Kind>); // [3,4]
    let mean = posterior.matmul(&w.flatten(1, -1)).reshape([3, 3, 4, 4]);
    for (target, expected) in [
        (Target::class(&classes), of_class.shallow_clone()),
        (Target::difference(&classes, &others), &of_class - &of_other),
        (Target::log_probability(&classes), &of_class - &mean),
        (free_energy(), mean),
    ] {
        let found = Saliency { batch_size: 2 }.signed(&LINEAR, &x, &target).unwrap();
        assert_close(&found, &expected);
    }
}

#[test]
fn what_is_linear_in_the_gradient_is_linear_in_the_target() {
    let x = images(3, 8);
    let (classes, others) =
        (Tensor::from_slice(&[2_i64, 0, 3]), Tensor::from_slice(&[1_i64, 4, 3]));
    let options = options(&["integrated-gradients.steps=7", "smooth-grad.samples=2"]);
    for method in
        [Method::Saliency, Method::InputXGradient, Method::IntegratedGradients, Method::SmoothGrad]
    {
        let method = method.build_attribution(&options).unwrap();
        let signed = |target: &Target| method.signed(&CONVOLUTIONAL, &x, target).unwrap();
        let (class, other) = (signed(&Target::class(&classes)), signed(&Target::class(&others)));
        assert_close(&signed(&Target::difference(&classes, &others)), &(&class - other));
        let probability = signed(&Target::log_probability(&classes));
        assert_close(&probability, &(class - signed(&free_energy())));
    }
}

#[test]
fn a_class_spelled_as_a_scalar_of_ones_own_gives_the_same_maps() {
    let x = images(3, 8);
    let second = Target::scalar(|logits| logits.select(1, 2));
    let class = Target::class(&Tensor::from_slice(&[2_i64; 3]));
    let options = options(&["score-cam.weights=softmax-logit", "smooth-grad.samples=2"]);
    for method in Method::ALL {
        let explainer = method.build(&options).unwrap();
        let explain = |target| explainer.explain(&CONVOLUTIONAL, &x, target).unwrap();
        assert!(explain(&second).equal(&explain(&class)), "{method}");
    }
}

#[test]
fn channels_weigh_what_they_add_to_the_difference() {
    let x = images(2, 4);
    let zero = Tensor::zeros([2], (Kind::Int64, x.device()));
    let target = Target::difference(&zero, &zero.ones_like());
    // ∂(z_0 − z_1)/∂A_k = 2·k·A_k − (−1)^k.
    let k = Tensor::arange(3, (Kind::Double, x.device())).reshape([3, 1, 1]);
    let signs = Tensor::from_slice(&[1.0, -1.0, 1.0]).reshape([3, 1, 1]);
    let gradient = &x * k * 2.0 - signs;
    let sum = |weights: Tensor| (weights * &x).sum_dim_intlist(1, false, None::<Kind>).relu();
    let mean = gradient.mean_dim([2, 3].as_slice(), true, None::<Kind>);
    assert_close(&cam(GradCam).explain(&TAPPED, &x, &target).unwrap(), &sum(mean));
    let found = cam(LayerCam).explain(&TAPPED, &x, &target).unwrap();
    assert_close(&found, &sum(gradient.relu()));
}

/// ScoreCAM's weights, without the sum over channels and the ReLU.
#[derive(Debug)]
struct OfOne(ScoreCam, i64);

impl ChannelWeights for OfOne {
    fn weights(&self, ctx: &CamContext) -> sib_core::Result<Tensor> {
        let weights = self.0.weights(ctx)?; // [B,C,1,1]
        // One channel's weight at every position, whatever the activation, and above zero.
        let kept = weights.narrow(1, self.1, 1) + 2.0;
        let first = ctx.activation.narrow(1, 0, 1).ones_like() / ctx.activation.narrow(1, 0, 1);
        Ok(Tensor::cat(
            &[kept * first, ctx.activation.narrow(1, 1, ctx.activation.size()[1] - 1).zeros_like()],
            1,
        ))
    }
}

#[test]
fn masked_images_are_scored_by_probabilities() {
    let x = images(2, 8);
    let (classes, others) = (Tensor::from_slice(&[2_i64, 0]), Tensor::from_slice(&[1_i64, 4]));
    let score_cam = || ScoreCam::new(&Default::default(), 3);
    for channel in 0..6 {
        let weight = |target: &Target| {
            let mut cam = cam(OfOne(score_cam(), channel));
            cam.layer = Some("before_relu".to_owned());
            cam.coarse(&CONVOLUTIONAL, &x, target).unwrap() - 2.0
        };
        let (class, other) = (weight(&Target::class(&classes)), weight(&Target::class(&others)));
        assert!(class.min().double_value(&[]) > 0.0);
        assert_close(&weight(&Target::difference(&classes, &others)), &(&class - other));
        assert_close(&weight(&Target::log_probability(&classes)), &class);
    }
    let refused = cam(score_cam()).explain(&CONVOLUTIONAL, &x, &free_energy()).unwrap_err();
    let refused = refused.to_string();
    assert!(refused.starts_with("target: got a scalar of the logits, expected"), "{refused}");
    assert!(refused.contains("softmax-logit"), "{refused}");
}

#[test]
fn targets_of_another_shape_and_classes_that_are_none_are_named() {
    let x = images(2, 8);
    let two = |a, b| Tensor::from_slice(&[a, b]);
    let explain = |target: &Target| {
        Saliency { batch_size: 1 }.explain(&CONVOLUTIONAL, &x, target).unwrap_err()
    };
    let short = two(0_i64, 1).narrow(0, 0, 1);
    let error = explain(&Target::difference(&two(0_i64, 1), &short));
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    let error = explain(&Target::difference(&two(0_i64, 1), &two(0, 5)));
    assert_eq!(error.to_string(), "target: got 5, expected a class index from 0 to 4");
    let error = explain(&Target::scalar(|logits| logits.sum(None::<Kind>)));
    let expected = "the scalar of the logits: got shape [], expected one scalar an image, [1]";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn maps_are_those_of_captum_and_pytorch_grad_cam() {
    let golden: HashMap<String, Tensor> =
        Tensor::read_safetensors(golden_path("explain_targets.safetensors"))
            .unwrap()
            .into_iter()
            .collect();
    let mut model =
        Model::new(Arch::ResNet18, 10, test_device(), &ModelOptions::default()).unwrap();
    model.variables_mut().double();
    fill_by_formula(model.variables_mut());
    let seed = golden["seed"].double_value(&[]) as i64;
    let input = |size_px| {
        let name = format!("explain.images.{seed}");
        formula_tensor(&name, &[2, 3, size_px, size_px]).to(test_device())
    };
    let (small, x) = (input(33), input(64));
    let [classes, others] = ["targets", "others"].map(|key| golden[key].to_kind(Kind::Int64));
    let targets = [
        ("difference", Target::difference(&classes, &others)),
        ("log-probability", Target::log_probability(&classes)),
        ("free-energy", free_energy()),
    ];
    let assert_of_range = |key: &str, found: &Tensor, tolerance: f64| {
        let expected = golden[key].to(found.device()).to_kind(Kind::Double);
        assert_eq!(found.size(), expected.size(), "{key}");
        let range = (expected.max() - expected.min()).double_value(&[]);
        let difference = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
        println!("{key}: {:.1e} of the range", difference / range);
        assert!(difference < tolerance * range, "{key}: {difference} of {range}");
    };
    let options = options(&["integrated-gradients.steps=16"]);
    for (name, target) in &targets {
        for (method, tolerance) in [
            // Both sides compute in f64; the file keeps 24 bits.
            (Method::Saliency, 1e-6),
            (Method::InputXGradient, 1e-6),
            (Method::GuidedBackprop, 1e-6),
            // Captum rounds its step sizes to f32.
            (Method::IntegratedGradients, 1e-5),
        ] {
            let explainer = method.build(&options).unwrap();
            let found = explainer.explain(model.backbone(), &small, target).unwrap();
            assert_of_range(&format!("{name}.{method}"), &found, tolerance);
        }
        // Maps of one sign lie far from zero compared with their range.
        let of = |key: &str| format!("{name}.{key}");
        let coarse = cam(GradCam).coarse(model.backbone(), &x, target).unwrap();
        assert_of_range(&of("grad-cam"), &coarse, 1e-5);
        let plus_plus = cam(GradCamPlusPlus { epsilon: 1e-6 });
        let coarse = plus_plus.coarse(model.backbone(), &x, target).unwrap();
        assert_of_range(&of("grad-cam-plus-plus"), &coarse, 1e-5);
        let coarse = cam(LayerCam).coarse(model.backbone(), &x, target).unwrap();
        assert_of_range(&of("layer-cam"), &coarse, 1e-5);
    }
    model.variables_mut().float();
    let small = small.to_kind(Kind::Float);
    let weights = ScoreWeights::SoftmaxLogit;
    for (name, target) in &targets {
        let score_cam = cam(ScoreCam { weights, align_corners: true, batch_size: 64 });
        let coarse = score_cam.coarse(model.backbone(), &small, target).unwrap();
        // Both sides in f32, masked images in batches of different sizes.
        assert_of_range(&format!("{name}.score-cam.softmax-logit"), &coarse, 1e-4);
    }
}
