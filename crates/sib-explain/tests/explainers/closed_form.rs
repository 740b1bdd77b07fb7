//! Every method on a network whose answer can be written down.

use sib_core::objective::{MaskConfig, VjpConfig, unit_scale};
use sib_core::testing::relative_difference;
use sib_core::{Backbone, Mode, Probe};
use sib_explain::{
    Baseline, Cam, ChannelWeights, Explainer, GradCam, GradCamPlusPlus, GuidedBackprop,
    GuidedGradCam, InputAttribution, InputXGradient, IntegratedGradients, LayerCam, QuadratureRule,
    SIbMap, Saliency, ScoreCam, ScoreWeights, SmoothGrad, Target, target_scores,
};
use tch::{Kind, Tensor};

use crate::toys::{CONVOLUTIONAL, LINEAR, QUADRATIC, TAPPED, Toy, halved, images, linear_weights};

/// f64 arithmetic in another order than the closed form's.
const ROUNDING: f64 = 1e-12;

fn cam<W>(weights: W) -> Cam<W> {
    Cam { weights, layer: None, rectify_activation: false, batch_size: 8 }
}

fn assert_close(found: &Tensor, expected: &Tensor) {
    assert_eq!(found.size(), expected.size());
    let difference = relative_difference(found, expected);
    assert!(difference < ROUNDING, "relative difference {difference}");
}

fn indices(targets: &[i64]) -> Tensor {
    Tensor::from_slice(targets)
}

#[test]
fn gradient_methods_on_a_linear_network() {
    let x = images(3, 4);
    let targets = indices(&[2, 0, 3]);
    let w = linear_weights(4).index_select(0, &targets); // [3,3,4,4]

    let saliency =
        Saliency { batch_size: 2 }.explain(&LINEAR, &x, &Target::class(&targets)).unwrap();
    assert_close(&saliency, &w.abs().amax(1, false));

    let share = (&w * &x).abs().sum_dim_intlist(1, false, None::<Kind>);
    let input_x_gradient =
        InputXGradient { batch_size: 2 }.explain(&LINEAR, &x, &Target::class(&targets)).unwrap();
    assert_close(&input_x_gradient, &share);

    // The gradient is the same at every noisy copy.
    let smooth = SmoothGrad {
        of: Box::new(Saliency { batch_size: 2 }),
        samples: 3,
        noise_frac: 0.5,
        seed: 7,
    };
    assert_close(&smooth.explain(&LINEAR, &x, &Target::class(&targets)).unwrap(), &saliency);
}

#[test]
fn integrated_gradients_of_a_line_and_of_a_square() {
    let x = images(3, 4);
    let targets = indices(&[1, 1, 0]);
    let integrated = |steps, baseline| IntegratedGradients {
        steps,
        rule: QuadratureRule::GaussLegendre,
        baseline,
        batch_size: 4,
    };
    let w = linear_weights(4).index_select(0, &targets);
    let on_line = integrated(5, Baseline::PerChannel(vec![0.5, -0.25, 0.0]));
    let baseline = Tensor::from_slice(&[0.5, -0.25, 0.0]).reshape([3, 1, 1]);
    assert_close(
        &on_line.signed(&LINEAR, &x, &Target::class(&targets)).unwrap(),
        &(w * (&x - baseline)),
    );

    // x² − x'² by the mean value of the gradient 2x: one Gauss–Legendre node suffices.
    let sign = Tensor::from_slice(&[-1.0, -1.0, 1.0]).reshape([3, 1, 1, 1]);
    let on_square = integrated(1, Baseline::Image(x.get(0)));
    let found = on_square.signed(&QUADRATIC, &x, &Target::class(&targets)).unwrap();
    assert_close(&found, &(sign * (x.square() - x.get(0).square())));
}

#[test]
fn integrated_gradients_are_complete() {
    let x = images(4, 8);
    let targets = indices(&[0, 1, 2, 3]);
    let complete = |steps| {
        IntegratedGradients {
            steps,
            rule: QuadratureRule::GaussLegendre,
            baseline: Baseline::Constant(0.0),
            batch_size: 7,
        }
        .with_completeness(&CONVOLUTIONAL, &x, &Target::class(&targets))
        .unwrap()
    };
    let at_50 = complete(50);
    let error = relative_difference(&(&at_50.residual + &at_50.difference), &at_50.difference);
    assert!(error < 0.01, "completeness error {error} of the logit difference");
    let logits = CONVOLUTIONAL.forward(&x, Mode::Eval);
    let at_zero = CONVOLUTIONAL.forward(&x.zeros_like(), Mode::Eval);
    let difference = (logits - at_zero).gather(1, &targets.unsqueeze(1), false).squeeze_dim(1);
    assert_close(&at_50.difference, &difference);
}

/// Two inputs, a hidden layer, a skip connection and a concatenation, one pixel.
const GUIDED: Toy = Toy(|x, probe| {
    let linear =
        |x: &Tensor, rows: &[[f64; 2]]| x.matmul(&Tensor::from_slice2(rows).to_kind(x.kind()).tr());
    let u = probe.relu(&linear(&x.flatten(1, -1), &U));
    let v = probe.relu(&(linear(&u, &V) + &u));
    Tensor::cat(&[&u, &v], 1).matmul(&Tensor::from_slice2(&[Z]).to_kind(x.kind()).tr())
});
const U: [[f64; 2]; 2] = [[2.0, 1.0], [-1.0, 3.0]];
const V: [[f64; 2]; 2] = [[1.0, -2.0], [0.5, 1.0]];
const Z: [f64; 4] = [-0.5, 1.0, 3.0, -1.0];

#[test]
fn guided_backprop_through_a_skip_connection_and_a_concatenation() {
    let x = [[0.5, 1.0], [1.0, -1.5], [-2.0, 0.5]];
    let step = |positive: bool, g: f64| if positive && g > 0.0 { g } else { 0.0 };
    let expected = x.map(|[x0, x1]| {
        let u_in = [U[0][0] * x0 + U[0][1] * x1, U[1][0] * x0 + U[1][1] * x1];
        let u = u_in.map(|value| value.max(0.0));
        let v_in = [V[0][0] * u[0] + V[0][1] * u[1] + u[0], V[1][0] * u[0] + V[1][1] * u[1] + u[1]];
        let g_v = [step(v_in[0] > 0.0, Z[2]), step(v_in[1] > 0.0, Z[3])];
        let g_u = [
            Z[0] + V[0][0] * g_v[0] + V[1][0] * g_v[1] + g_v[0],
            Z[1] + V[0][1] * g_v[0] + V[1][1] * g_v[1] + g_v[1],
        ];
        let g_u = [step(u_in[0] > 0.0, g_u[0]), step(u_in[1] > 0.0, g_u[1])];
        [U[0][0] * g_u[0] + U[1][0] * g_u[1], U[0][1] * g_u[0] + U[1][1] * g_u[1]]
    });
    let x = Tensor::from_slice2(&x).reshape([3, 2, 1, 1]);
    let expected = Tensor::from_slice2(&expected).reshape([3, 2, 1, 1]);
    let guided = GuidedBackprop { batch_size: 8, guide_last_relu: true };
    assert_close(
        &guided.signed(&GUIDED, &x, &Target::class(&indices(&[0, 0, 0]))).unwrap(),
        &expected,
    );
}

#[test]
fn guided_backprop_without_relus_is_the_gradient_and_the_last_relu_can_be_left_plain() {
    let x = images(2, 4);
    let targets = indices(&[1, 3]);
    let guided = GuidedBackprop { batch_size: 8, guide_last_relu: true };
    let plain = Saliency { batch_size: 8 };
    assert_close(
        &guided.signed(&LINEAR, &x, &Target::class(&targets)).unwrap(),
        &plain.signed(&LINEAR, &x, &Target::class(&targets)).unwrap(),
    );

    // One ReLU, left plain: the gradient again, where guiding it changes the map.
    const ONE_RELU: Toy = Toy(|x, probe| {
        let hidden = probe.relu(&x.flatten(1, -1).matmul(&linear_weights(4).flatten(1, -1).tr()));
        hidden.matmul(&Tensor::from_slice2(&[[1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.0]]).tr())
    });
    let targets = indices(&[0, 1]);
    let unguided = GuidedBackprop { batch_size: 8, guide_last_relu: false };
    let gradient = plain.signed(&ONE_RELU, &x, &Target::class(&targets)).unwrap();
    assert_close(&unguided.signed(&ONE_RELU, &x, &Target::class(&targets)).unwrap(), &gradient);
    let fully = guided.signed(&ONE_RELU, &x, &Target::class(&targets)).unwrap();
    assert!(relative_difference(&fully, &gradient) > 0.1);
}

/// What each map is on [`TAPPED`] with its first logit: `g = 2kA`.
#[test]
fn cams_on_a_tapped_image() {
    let x = images(2, 4);
    let k = Tensor::arange(3, (Kind::Double, x.device())).reshape([1, 3, 1, 1]);
    let g = &k * &x * 2.0;
    let targets = indices(&[0, 0]);
    let sum_rectified = |map: Tensor| map.sum_dim_intlist(1, false, None::<Kind>).relu();
    let (positions, none) = ([2i64, 3], None::<Kind>);

    let expected = sum_rectified(g.mean_dim(positions.as_slice(), true, none) * &x);
    assert_close(&cam(GradCam).explain(&TAPPED, &x, &Target::class(&targets)).unwrap(), &expected);

    // Channel 0 has no gradient: its weight is 0, not NaN.
    let sum_a = x.sum_dim_intlist(positions.as_slice(), true, none);
    let denominator = g.square() * 2.0 + g.pow_tensor_scalar(3) * &sum_a;
    let alpha = (g.square() / denominator).nan_to_num(0.0, None, None);
    let weights = (alpha * g.relu()).sum_dim_intlist(positions.as_slice(), true, none);
    let found = cam(GradCamPlusPlus { epsilon: 0.0 })
        .explain(&TAPPED, &x, &Target::class(&targets))
        .unwrap();
    assert_close(&found, &sum_rectified(weights * &x));

    let found = cam(LayerCam).explain(&TAPPED, &x, &Target::class(&targets)).unwrap();
    assert_close(&found, &sum_rectified(g.relu() * &x));
}

#[test]
fn grad_cam_plus_plus_does_not_depend_on_the_scale_of_the_gradient() {
    // z = s·ΣA with ΣA·s small against 2: α = 1/2 whatever s, so the map is s/2·(h·w)·ΣA.
    const SMALL: Toy = Toy(|x, probe| {
        let a = probe.tap("features", x.shallow_clone());
        a.sum_dim_intlist([1, 2, 3].as_slice(), false, None::<Kind>).unsqueeze(1) * 1e-20
    });
    let x = images(2, 4).abs();
    let targets = indices(&[0, 0]);
    let found = cam(GradCamPlusPlus { epsilon: 0.0 })
        .explain(&SMALL, &x, &Target::class(&targets))
        .unwrap();
    let expected = x.sum_dim_intlist(1, false, None::<Kind>) * (0.5e-20 * 16.0);
    assert_close(&found, &expected);
    let damped = cam(GradCamPlusPlus { epsilon: 1e-6 })
        .explain(&SMALL, &x, &Target::class(&targets))
        .unwrap();
    assert!(damped.max().double_value(&[]) < 1e-40);
}

/// One channel at a time, as the definition reads.
fn score_cam_by_definition(model: &Toy, x: &Tensor, target: i64, weights: ScoreWeights) -> Tensor {
    struct Recorder(Option<Tensor>);
    impl Probe for Recorder {
        fn tap(&mut self, layer: &str, x: Tensor) -> Tensor {
            if layer == "features" {
                self.0 = Some(x.shallow_clone());
            }
            x
        }
    }
    let mut recorder = Recorder(None);
    let _ = model.forward_probed(x, Mode::Eval, &mut recorder);
    let a = recorder.0.unwrap();
    let scores: Vec<f64> = (0..a.size()[1])
        .map(|channel| {
            let map = a.narrow(1, channel, 1);
            let up = map.upsample_bilinear2d([x.size()[2], x.size()[3]], false, None, None);
            let (low, high) = (up.min().double_value(&[]), up.max().double_value(&[]));
            let mask = if high > low { (up - low) / (high - low) } else { up.zeros_like() };
            let logits = model.forward(&(x * mask), Mode::Eval);
            match weights {
                ScoreWeights::Probability if high > low => {
                    logits.softmax(1, None::<Kind>).double_value(&[0, target])
                }
                ScoreWeights::Probability => 0.0,
                ScoreWeights::SoftmaxLogit => logits.double_value(&[0, target]),
            }
        })
        .collect();
    let scores = Tensor::from_slice(&scores);
    let scores = match weights {
        ScoreWeights::Probability => scores,
        ScoreWeights::SoftmaxLogit => scores.softmax(0, None::<Kind>),
    };
    (scores.reshape([1, -1, 1, 1]) * a).sum_dim_intlist(1, false, None::<Kind>).relu()
}

#[test]
fn score_cam_is_its_definition_with_chunks_across_images_and_constant_channels() {
    // Channel 1 of the first image is constant.
    const GATED: Toy = Toy(|x, probe| {
        let a = probe.tap("features", halved(x).relu());
        let flat = a.flatten(1, -1).square();
        flat.matmul(&crate::toys::linear_weights(2).flatten(1, -1).tr()) * 3.0
    });
    let x = images(3, 4);
    let _ = x.get(0).get(1).fill_(-0.5);
    let targets = indices(&[3, 1, 0]);
    for weights in [ScoreWeights::Probability, ScoreWeights::SoftmaxLogit] {
        let expected: Vec<_> = (0..3)
            .map(|i| {
                let target = targets.int64_value(&[i]);
                score_cam_by_definition(&GATED, &x.narrow(0, i, 1), target, weights)
            })
            .collect();
        for batch_size in [1, 2, 100] {
            let score_cam = cam(ScoreCam { weights, align_corners: false, batch_size });
            let found = score_cam.coarse(&GATED, &x, &Target::class(&targets)).unwrap();
            assert_close(&found, &Tensor::cat(&expected, 0));
        }
    }
}

#[test]
fn guided_grad_cam_is_the_product() {
    let x = images(2, 8);
    let targets = indices(&[1, 4]);
    let guided = GuidedBackprop { batch_size: 8, guide_last_relu: true };
    let product = guided.signed(&CONVOLUTIONAL, &x, &Target::class(&targets)).unwrap()
        * cam(GradCam).explain(&CONVOLUTIONAL, &x, &Target::class(&targets)).unwrap().unsqueeze(1);
    let both = GuidedGradCam { cam: cam(GradCam), guided };
    assert_close(&both.signed(&CONVOLUTIONAL, &x, &Target::class(&targets)).unwrap(), &product);
}

#[test]
fn smooth_grad_averages_the_gradient_at_noisy_copies() {
    // ∂z/∂x = 2x, so the mean is 2(x + σ·mean(noise)): within 5 standard errors of 2x.
    let x = images(2, 6);
    let targets = indices(&[0, 0]);
    let (samples, noise_frac) = (400, 0.1);
    let smooth =
        SmoothGrad { of: Box::new(Saliency { batch_size: 4 }), samples, noise_frac, seed: 3 };
    let found = smooth.signed(&QUADRATIC, &x, &Target::class(&targets)).unwrap();
    let sigma = 2.0 * noise_frac; // the images' range is just below 2
    let deviation = (&found - &x * 2.0) / (2.0 * sigma / (samples as f64).sqrt());
    assert!(deviation.abs().max().double_value(&[]) < 5.0);
    // Of 216 standard normal deviations, most are not small either.
    assert!(deviation.std(true).double_value(&[]) > 0.7);
    assert_close(&smooth.signed(&QUADRATIC, &x, &Target::class(&targets)).unwrap(), &found);
}

#[test]
fn the_tap_can_be_chosen_and_its_activation_rectified() {
    let x = images(2, 8);
    let targets = indices(&[1, 4]);
    let layer = Some("before_relu".to_owned());
    let before = Cam { layer: layer.clone(), ..cam(GradCam) };
    let after = cam(GradCam).coarse(&CONVOLUTIONAL, &x, &Target::class(&targets)).unwrap();
    assert!(
        relative_difference(
            &before.coarse(&CONVOLUTIONAL, &x, &Target::class(&targets)).unwrap(),
            &after
        ) > 0.01
    );
    // With position-wise weights g·1[a>0], a rectified activation makes both taps one.
    let rectified = Cam { layer, rectify_activation: true, ..cam(LayerCam) };
    assert_close(
        &rectified.coarse(&CONVOLUTIONAL, &x, &Target::class(&targets)).unwrap(),
        &cam(LayerCam).coarse(&CONVOLUTIONAL, &x, &Target::class(&targets)).unwrap(),
    );
    let unknown = Cam { layer: Some("layer4".to_owned()), ..cam(GradCam) };
    let error =
        unknown.explain(&CONVOLUTIONAL, &x, &Target::class(&targets)).unwrap_err().to_string();
    assert_eq!(
        error,
        "cam.layer: got layer4, expected a tap of the network: before_relu, features"
    );
}

#[test]
fn a_network_without_a_tap_of_its_choice_is_asked_for_one() {
    /// The same network, but it recommends no tap, and shows its taps only where asked to.
    #[derive(Debug)]
    struct Undecided {
        has_taps: bool,
    }
    impl Backbone for Undecided {
        fn forward_probed(&self, x: &Tensor, mode: Mode, probe: &mut dyn Probe) -> Tensor {
            let probe = if self.has_taps { probe } else { &mut () };
            CONVOLUTIONAL.forward_probed(x, mode, probe)
        }
    }
    let (x, targets) = (images(2, 6), indices(&[1, 4]));
    let explain = |cam: Cam<GradCam>, has_taps| {
        let map = cam.explain(&Undecided { has_taps }, &x, &Target::class(&targets));
        map.map_err(|error| error.to_string())
    };
    assert_eq!(
        explain(cam(GradCam), true).unwrap_err(),
        "cam.layer: got none, expected a tap of the network: before_relu, features"
    );
    assert_eq!(
        explain(cam(GradCam), false).unwrap_err(),
        "cam.layer: got none, expected a tap, but the network shows its probe no feature map"
    );
    let named = Cam { layer: Some("features".to_owned()), ..cam(GradCam) };
    let own_choice = cam(GradCam).explain(&CONVOLUTIONAL, &x, &Target::class(&targets)).unwrap();
    assert_eq!(explain(named, true).unwrap(), own_choice);
}

#[test]
fn maps_are_upsampled_with_aligned_pixel_centres() {
    // 2 × 2 to 4 × 4: the outer ring repeats the corners, the middle is 3/4 and 1/4 of neighbours.
    const POOLED: Toy = Toy(|x, probe| {
        let a = probe.tap("features", halved(&x.narrow(1, 0, 1)));
        a.sum_dim_intlist([2, 3].as_slice(), false, None::<Kind>)
    });
    let a = Tensor::from_slice2(&[[0.0, 4.0], [8.0, 12.0]]);
    let x = a.repeat_interleave_self_int(2, 0, None).repeat_interleave_self_int(2, 1, None);
    let x = x.expand([1, 3, 4, 4], false);
    let found = cam(GradCam).explain(&POOLED, &x, &Target::class(&indices(&[0]))).unwrap();
    let expected = Tensor::from_slice2(&[
        [0.0, 1.0, 3.0, 4.0],
        [2.0, 3.0, 5.0, 6.0],
        [6.0, 7.0, 9.0, 10.0],
        [8.0, 9.0, 11.0, 12.0],
    ]);
    assert_close(&found, &expected.unsqueeze(0));
}

/// `R = Jᵀp = Wᵀ(p∘p − p‖p‖²)` for `z = Wx + k`; only its direction counts.
#[test]
fn the_s_ib_map_is_the_density_of_the_vjp() {
    let x = images(3, 12) * 0.1; // small, so that p is no unit vector
    let p = LINEAR.forward(&x, Mode::Eval).softmax(1, None::<Kind>);
    let square = p.square();
    let v = &square - &p * square.sum_dim_intlist(1, true, None::<Kind>);
    let r = v.matmul(&linear_weights(12).flatten(1, -1)).reshape_as(&x);
    let expected = MaskConfig::default().apply(&unit_scale(&r)).unwrap();
    let map = SIbMap { vjp: VjpConfig::default(), mask: MaskConfig::default(), batch_size: 2 };
    let targets = indices(&[0, 1, 2]);
    assert_close(
        &map.explain(&LINEAR, &x, &Target::class(&targets)).unwrap(),
        &expected.density.squeeze_dim(1),
    );
    assert_close(
        &map.mask(&LINEAR, &x, &Target::class(&targets)).unwrap(),
        &expected.mask.squeeze_dim(1),
    );
}

#[test]
fn target_scores_are_those_of_the_softmax() {
    let x = images(3, 4);
    let logits = LINEAR.forward(&x, Mode::Eval);
    let predicted = target_scores(&LINEAR, &x, None, 2).unwrap();
    assert_eq!(
        Vec::<i64>::try_from(&predicted.targets).unwrap(),
        Vec::<i64>::try_from(logits.argmax(1, false)).unwrap()
    );
    assert_close(&predicted.logits, &logits.amax(1, false));
    assert_close(
        &predicted.probabilities,
        &(logits.amax(1, false) - logits.logsumexp(1, false)).exp(),
    );
    let given = target_scores(&LINEAR, &x, Some(&indices(&[0, 0, 1])), 2).unwrap();
    assert_close(&given.logits.get(2), &logits.get(2).get(1));
}

/// Every channel weight by a type of the user's own.
#[test]
fn a_cam_needs_only_its_weights() {
    #[derive(Debug)]
    struct FirstChannel;
    impl ChannelWeights for FirstChannel {
        fn weights(&self, ctx: &sib_explain::CamContext) -> sib_core::Result<Tensor> {
            let weights = ctx.activation.narrow(2, 0, 1).narrow(3, 0, 1).zeros_like();
            let _ = weights.narrow(1, 0, 1).fill_(1.0);
            Ok(weights)
        }
    }
    let x = images(2, 4);
    let found = cam(FirstChannel).explain(&TAPPED, &x, &Target::class(&indices(&[0, 1]))).unwrap();
    assert_close(&found, &x.select(1, 0).relu());
}
