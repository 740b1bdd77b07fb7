//! Maps of the backbones against Captum, pytorch-grad-cam and the formula of ScoreCAM's paper
//! (scripts/golden/explain.py).

use std::collections::HashMap;

use sib_core::testing::{fill_by_formula, formula_tensor, golden_path, test_device};
use sib_explain::{
    Cam, ChannelWeights, Explainer, GradCam, GradCamPlusPlus, InputAttribution, LayerCam, Method,
    MethodOptions, ScoreCam, ScoreWeights, Target,
};
use sib_models::{Arch, Model, ModelOptions};
use tch::{Kind, Tensor};

/// Both sides compute in f64; the file keeps 24 bits.
const DOUBLE: f64 = 1e-6;
/// f64 as well, but maps of one sign lie far from zero compared with their range, by which the
/// difference is divided.
const OFFSET: f64 = 1e-5;
/// Captum rounds its step sizes to f32, and the gradients along the path partly cancel.
const STEP_SIZES: f64 = 1e-5;
/// Both sides compute in f32, with masked images in batches of different sizes; a weighted sum over
/// up to 2048 channels nearly cancels.
const SINGLE: f64 = 1e-4;
/// OpenCV resizes in f32 and pytorch-grad-cam divides by `1e-7 + max`.
const OPENCV: f64 = 1e-5;

/// A network with weights by formula, and what others make of it.
struct Golden {
    model: Model,
    maps: HashMap<String, Tensor>,
    seed: i64,
}

impl Golden {
    fn new(arch: Arch) -> Self {
        let path = golden_path(&format!("explain_{arch}.safetensors"));
        let maps: HashMap<_, _> = Tensor::read_safetensors(path).unwrap().into_iter().collect();
        let mut model = Model::new(arch, 10, test_device(), &ModelOptions::default()).unwrap();
        // In f64 before they are filled, as on the other side: weights rounded to f32 put single
        // units on the other side of their ReLU.
        model.variables_mut().double();
        fill_by_formula(model.variables_mut());
        let seed = maps["seed"].double_value(&[]) as i64;
        Self { model, maps, seed }
    }

    /// The images that a map is of: as many as it has rows.
    fn images(&self, size_px: i64, count: i64, kind: Kind) -> Tensor {
        let name = format!("explain.images.{}", self.seed);
        let images = formula_tensor(&name, &[2, 3, size_px, size_px]);
        images.narrow(0, 0, count).to(test_device()).to_kind(kind)
    }

    /// The classes that the first `count` images are explained for.
    fn targets(&self, count: i64) -> Tensor {
        self.maps["targets"].narrow(0, 0, count)
    }

    /// Difference between the map of `method` with `options` and the one stored as `key`.
    fn explain(&self, key: &str, method: Method, options: &[&str], size_px: i64) -> f64 {
        let mut built = MethodOptions::default();
        options.iter().for_each(|option| built.set(option).unwrap());
        let expected = &self.maps[key];
        let count = expected.size()[0];
        let found = method
            .build(&built)
            .unwrap()
            .explain(
                self.model.backbone(),
                &self.images(size_px, count, Kind::Double),
                &Target::class(&self.targets(count)),
            )
            .unwrap();
        of_range(key, &found, expected)
    }

    /// The same for a class-activation map at the resolution of its tap.
    fn coarse<W: ChannelWeights>(&self, key: &str, cam: Cam<W>, images: &Tensor) -> f64 {
        let expected = &self.maps[key];
        let found = cam
            .coarse(self.model.backbone(), images, &Target::class(&self.targets(images.size()[0])))
            .unwrap();
        of_range(key, &found, expected)
    }

    /// All gradient methods that every backbone has.
    fn gradient_methods(&self, size_px: i64) {
        for method in [Method::Saliency, Method::InputXGradient, Method::GuidedBackprop] {
            let difference = self.explain(method.name(), method, &[], size_px);
            assert!(difference < DOUBLE, "{method}: {difference}");
        }
    }

    fn integrated_gradients(&self, size_px: i64) {
        let expected = &self.maps["completeness_error"];
        let count = expected.size()[0];
        let explainer = sib_explain::IntegratedGradients {
            steps: self.maps["steps"].double_value(&[]) as usize,
            rule: sib_explain::QuadratureRule::GaussLegendre,
            baseline: sib_explain::Baseline::Constant(0.0),
            batch_size: 20,
        };
        let images = self.images(size_px, count, Kind::Double);
        let found = explainer
            .with_completeness(self.model.backbone(), &images, &Target::class(&self.targets(count)))
            .unwrap();
        let map = explainer.reduction().apply(&found.attribution);
        let key = "integrated-gradients";
        let difference = of_range(key, &map, &self.maps[key]);
        assert!(difference < STEP_SIZES, "{difference}");
        // A difference of sums that nearly cancel: what counts is the size of the logits.
        let error = (found.residual - expected.to(test_device())).abs() / found.difference.abs();
        let error = error.max().double_value(&[]);
        println!("completeness_error: {error:.1e}");
        assert!(error < DOUBLE, "{error}");
    }

    /// The three maps of gradient weights at one tap.
    fn gradient_cams(&self, suffix: &str, layer: Option<&str>, rectify: bool, size_px: i64) {
        let count = self.maps[&format!("grad-cam{suffix}")].size()[0];
        let images = self.images(size_px, count, Kind::Double);
        let layer = layer.map(str::to_owned);
        let differences = [
            self.coarse(&format!("grad-cam{suffix}"), cam(GradCam, &layer, rectify), &images),
            self.coarse(
                &format!("grad-cam-plus-plus{suffix}"),
                // pytorch-grad-cam's guard.
                cam(GradCamPlusPlus { epsilon: 1e-6 }, &layer, rectify),
                &images,
            ),
            self.coarse(&format!("layer-cam{suffix}"), cam(LayerCam, &layer, rectify), &images),
        ];
        assert!(differences.iter().all(|&difference| difference < OFFSET), "{differences:?}");
    }

    /// Upsampled to the input and scaled to `[0,1]`, as pytorch-grad-cam returns it.
    fn final_grad_cam(&self, size_px: i64) {
        let expected = &self.maps["grad-cam.final"];
        let count = expected.size()[0];
        let images = self.images(size_px, count, Kind::Double);
        let found = cam(GradCam, &None, false)
            .explain(self.model.backbone(), &images, &Target::class(&self.targets(count)))
            .unwrap();
        let low = found.amin([1, 2].as_slice(), true);
        let range = (found.amax([1, 2].as_slice(), true) - &low).clamp_min(f64::MIN_POSITIVE);
        let found = (found - low) / range;
        let difference = of_range("grad-cam.final", &found, expected);
        assert!(difference < OPENCV, "{difference}");
    }

    fn score_cams(&mut self, size_px: i64, variants: &[ScoreWeights]) {
        self.model.variables_mut().float();
        for &weights in variants {
            let (key, align_corners) = match weights {
                ScoreWeights::Probability => ("score-cam", false),
                // pytorch-grad-cam upsamples the masks so.
                ScoreWeights::SoftmaxLogit => ("score-cam.softmax-logit", true),
            };
            let images = self.images(size_px, self.maps[key].size()[0], Kind::Float);
            let score_cam = ScoreCam { weights, align_corners, batch_size: 64 };
            let difference = self.coarse(key, cam(score_cam, &None, false), &images);
            assert!(difference < SINGLE, "{key}: {difference}");
        }
    }
}

fn cam<W>(weights: W, layer: &Option<String>, rectify_activation: bool) -> Cam<W> {
    Cam { weights, layer: layer.clone(), rectify_activation, batch_size: 8 }
}

/// Largest difference as a fraction of the expected map's range.
fn of_range(key: &str, found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size(), "{key}");
    let expected = expected.to(found.device()).to_kind(Kind::Double);
    // A map that is zero everywhere must be met exactly.
    let range = (expected.max() - expected.min()).double_value(&[]).max(f64::MIN_POSITIVE);
    let difference = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]) / range;
    println!("{key}: {difference:.1e} of the range");
    difference
}

const BOTH: [ScoreWeights; 2] = [ScoreWeights::Probability, ScoreWeights::SoftmaxLogit];

#[test]
fn resnet18() {
    let mut golden = Golden::new(Arch::ResNet18);
    golden.gradient_methods(64);
    golden.integrated_gradients(64);
    let guided = "guided-backprop.pytorch-grad-cam";
    assert!(golden.explain(guided, Method::GuidedBackprop, &[], 64) < DOUBLE);
    assert!(golden.explain("guided-grad-cam", Method::GuidedGradCam, &[], 64) < DOUBLE);
    for rule in ["riemann-middle", "riemann-left", "riemann-right", "riemann-trapezoid"] {
        let key = format!("integrated-gradients.{rule}");
        let rule = format!("integrated-gradients.rule={rule}");
        let options = [rule.as_str(), "integrated-gradients.steps=8"];
        let difference = golden.explain(&key, Method::IntegratedGradients, &options, 64);
        assert!(difference < STEP_SIZES, "{key}: {difference}");
    }
    golden.gradient_cams("", None, false, 64);
    golden.gradient_cams(".layer2", Some("layer2"), false, 64);
    golden.final_grad_cam(64);
    golden.score_cams(33, &BOTH);
}

#[test]
fn resnet50() {
    let mut golden = Golden::new(Arch::ResNet50);
    golden.gradient_methods(64);
    golden.integrated_gradients(64);
    assert!(golden.explain("guided-grad-cam", Method::GuidedGradCam, &[], 64) < DOUBLE);
    golden.gradient_cams("", None, false, 64);
    golden.final_grad_cam(64);
    golden.score_cams(33, &BOTH);
}

#[test]
fn densenet121() {
    let mut golden = Golden::new(Arch::DenseNet121);
    golden.gradient_methods(64);
    golden.integrated_gradients(64);
    // Captum on torchvision's own network, whose last ReLU is no module.
    let plain = ["guided-backprop.guide_last_relu=false"];
    let key = "guided-backprop.last-relu-plain";
    assert!(golden.explain(key, Method::GuidedBackprop, &plain, 64) < DOUBLE);
    assert!(golden.explain("guided-grad-cam", Method::GuidedGradCam, &[], 64) < DOUBLE);
    golden.gradient_cams("", None, false, 64);
    golden.gradient_cams(".norm5", Some("features.norm5"), false, 64);
    // pytorch-grad-cam on the CPU, where the in-place ReLU overwrites the hooked tensor.
    golden.gradient_cams(".norm5-overwritten", Some("features.norm5"), true, 64);
    golden.final_grad_cam(64);
    golden.score_cams(64, &BOTH);
}

#[test]
fn vit_b_32() {
    let mut golden = Golden::new(Arch::VitB32);
    golden.gradient_methods(96);
    golden.integrated_gradients(96);
    golden.gradient_cams("", None, false, 96);
    golden.final_grad_cam(96);
    golden.score_cams(64, &BOTH);
}

/// The methods once for another network, ScoreCAM, which takes the longest, for one of each kind.
fn other(arch: Arch, size_px: i64) {
    let mut golden = Golden::new(arch);
    golden.gradient_methods(size_px);
    golden.integrated_gradients(size_px);
    golden.gradient_cams("", None, false, size_px);
    golden.final_grad_cam(size_px);
    let has_score_cam = [Arch::ResNeXt50, Arch::Vgg16, Arch::Vgg16Bn, Arch::VitB16].contains(&arch);
    if has_score_cam {
        golden.score_cams(size_px, &[ScoreWeights::Probability]);
    }
}

#[test]
fn other_resnets() {
    let deeper = [Arch::ResNet34, Arch::ResNet101, Arch::ResNet152];
    for arch in deeper.into_iter().chain([Arch::WideResNet50x2, Arch::ResNeXt50]) {
        other(arch, 33);
    }
}

#[test]
fn other_densenets() {
    for arch in [Arch::DenseNet161, Arch::DenseNet169, Arch::DenseNet201] {
        other(arch, 64);
    }
}

#[test]
fn vggs() {
    for arch in [Arch::Vgg16, Arch::Vgg16Bn] {
        other(arch, 33);
    }
}

#[test]
fn other_vits() {
    for (arch, size_px) in [(Arch::VitB16, 32), (Arch::VitL16, 32), (Arch::VitL32, 64)] {
        other(arch, size_px);
    }
}
