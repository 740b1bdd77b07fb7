//! Names and options.

use sib_explain::{BaselineValues, Method, MethodOptions, QuadratureRule, ScoreWeights};

#[test]
fn names_parse_back_and_an_unknown_one_names_its_nearest() {
    for method in Method::ALL {
        assert_eq!(method.name().parse::<Method>().unwrap(), method);
    }
    for (typed, nearest) in [
        ("gradcam", "grad-cam"),
        ("GradCAM++", "grad-cam-plus-plus"),
        ("score_cam", "score-cam"),
        ("integrated-gradient", "integrated-gradients"),
        ("salience", "saliency"),
    ] {
        let message = typed.parse::<Method>().unwrap_err().to_string();
        assert!(message.ends_with(&format!("(nearest: {nearest})")), "{message}");
        assert!(message.starts_with(&format!("method: got {typed}, expected one of saliency")));
    }
    let message = "xyz".parse::<Method>().unwrap_err().to_string();
    assert!(!message.contains("nearest"), "{message}");
}

#[test]
fn options_are_set_key_by_key() {
    let mut options = MethodOptions::default();
    for assignment in [
        "score-cam.weights=softmax-logit",
        "score-cam.align_corners = true",
        "integrated-gradients.steps=200",
        "integrated-gradients.rule=riemann-trapezoid",
        "integrated-gradients.baseline=[-1, -1.0, -1]",
        "cam.layer=features.norm5",
        "smooth-grad.of=integrated-gradients",
        "guided-backprop.guide_last_relu=false",
        "grad-cam-plus-plus.epsilon=1e-6",
        "batch_size=4",
    ] {
        options.set(assignment).unwrap();
    }
    assert_eq!(options.score_cam.weights, ScoreWeights::SoftmaxLogit);
    assert!(options.score_cam.align_corners);
    assert_eq!(options.integrated_gradients.steps, 200);
    assert_eq!(options.integrated_gradients.rule, QuadratureRule::RiemannTrapezoid);
    assert_eq!(options.integrated_gradients.baseline, BaselineValues::PerChannel(vec![-1.0; 3]));
    assert_eq!(options.cam.layer.as_deref(), Some("features.norm5"));
    assert_eq!(options.smooth_grad.of, Method::IntegratedGradients);
    assert!(!options.guided_backprop.guide_last_relu);
    assert_eq!(options.grad_cam_plus_plus.epsilon, 1e-6);
    assert_eq!(options.batch_size, Some(4));

    options.set("integrated-gradients.baseline=0").unwrap();
    assert_eq!(options.integrated_gradients.baseline, BaselineValues::One(0.0));
}

#[test]
fn options_are_refused_with_key_value_and_what_was_expected() {
    let mut options = MethodOptions::default();
    for (assignment, words) in [
        ("score-cam.weights=logit", ["score-cam.weights: got logit", "softmax-logit"]),
        ("score-cam.wieghts=probability", ["unknown field `wieghts`", "`align_corners`"]),
        ("scorecam.weights=probability", ["unknown field `scorecam`", "`score-cam`"]),
        ("integrated-gradients.steps=many", ["integrated-gradients.steps: got many", "string"]),
        ("smooth-grad.of=sailency", ["smooth-grad.of: got sailency", "(nearest: saliency)"]),
        ("batch_size.x=1", ["batch_size.x: got 1", ""]),
        ("steps", ["method option: got steps", "key=value"]),
    ] {
        let message = options.set(assignment).unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "{assignment}: {message}");
        }
    }
    assert_eq!(options, MethodOptions::default());

    options.set("integrated-gradients.steps=0").unwrap();
    let message = Method::IntegratedGradients.build(&options).unwrap_err().to_string();
    assert_eq!(message, "integrated-gradients.steps: got 0, expected at least 1");
    options.set("smooth-grad.of=grad-cam").unwrap();
    let message = Method::SmoothGrad.build(&options).unwrap_err().to_string();
    assert!(message.starts_with("smooth-grad.of: got grad-cam, expected a method"), "{message}");
}
