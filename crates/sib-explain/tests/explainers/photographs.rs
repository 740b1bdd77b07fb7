//! Logits and maps of a JPEG file against torchvision, Captum, pytorch-grad-cam and plain PyTorch
//! (scripts/golden/photographs.py).

use std::collections::HashMap;

use image::RgbImage;
use sib_core::Mode;
use sib_core::data::Transform;
use sib_core::data::transform::load_image;
use sib_core::testing::{fill_by_formula, golden_path, test_device};
use sib_explain::{
    Cam, ChannelWeights, GradCam, GradCamPlusPlus, LayerCam, Method, MethodOptions, ScoreCam,
    ScoreWeights, Target,
};
use sib_models::{Arch, Model, ModelOptions};
use tch::{Kind, Tensor};

fn golden(name: &str) -> HashMap<String, Tensor> {
    let path = golden_path(&format!("photographs_{name}.safetensors"));
    let tensors = Tensor::read_safetensors(&path);
    tensors.unwrap_or_else(|error| panic!("{}: {error}", path.display())).into_iter().collect()
}

fn transform() -> Transform {
    Transform::evaluation(71, 64, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).unwrap()
}

/// A JPEG file of the golden file as model input `[1,3,64,64]`.
fn photograph(name: &str) -> Tensor {
    let bytes: Vec<u8> = (&golden("inputs")[&format!("{name}.jpeg")]).try_into().unwrap();
    let file = tempfile::Builder::new().suffix(".jpg").tempfile().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    load_image(file.path(), &transform()).unwrap().input.unsqueeze(0)
}

#[test]
fn the_input_that_a_jpeg_file_becomes_is_torchvision_s() {
    let golden = golden("inputs");
    assert!(photograph("420").equal(&golden["420.input"]));
    for name in ["420", "422-progressive", "444", "grey"] {
        let pixels: Vec<u8> = golden[&format!("{name}.pixels")].flatten(0, -1).try_into().unwrap();
        let expected = transform().normalise(&RgbImage::from_raw(64, 64, pixels).unwrap());
        let difference = (photograph(name) - expected).abs().max().double_value(&[]);
        // To the bit: a level would be 0.017.
        assert_eq!(difference, 0.0, "{name}: {:.1} levels", difference * 0.225 * 255.0);
    }
}

/// Largest difference as a fraction of the expected map's range.
fn of_range(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let expected = expected.to(found.device()).to_kind(Kind::Double);
    let range = (expected.max() - expected.min()).double_value(&[]);
    assert!(range > 0.0);
    (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]) / range
}

/// A network by formula, in f64: in f32 single units lie on the other side of their ReLU.
struct Photograph {
    model: Model,
    golden: HashMap<String, Tensor>,
    input: Tensor,
}

impl Photograph {
    fn of(arch: Arch) -> Self {
        let mut model = Model::new(arch, 10, test_device(), &ModelOptions::default()).unwrap();
        model.variables_mut().double();
        fill_by_formula(model.variables_mut());
        let input = photograph("420").to(test_device()).to_kind(Kind::Double);
        Self { model, golden: golden(arch.name()), input }
    }

    #[track_caller]
    fn close(&self, key: &str, found: &Tensor, tolerance: f64) {
        let difference = of_range(found, &self.golden[key]);
        println!("{} {key}: {difference:.1e} of the range", self.model.arch());
        assert!(difference < tolerance, "{key}: {difference}");
    }

    fn coarse<W: ChannelWeights>(&self, weights: W, input: &Tensor) -> Tensor {
        let cam = Cam { weights, layer: None, rectify_activation: false, batch_size: 8 };
        cam.coarse(self.model.backbone(), input, &Target::class(&self.golden["targets"])).unwrap()
    }

    fn check(mut self, methods: &[Method]) {
        let logits = self.model.backbone().forward(&self.input, Mode::Eval);
        self.close("logits", &logits, 1e-6);
        for &method in methods {
            let mut options = MethodOptions::default();
            options.set("integrated-gradients.steps=16").unwrap();
            let explainer = method.build(&options).unwrap();
            let targets = &self.golden["targets"];
            let map = explainer
                .explain(self.model.backbone(), &self.input, &Target::class(targets))
                .unwrap();
            // Both sides in f64, the file keeps 24 bits; Captum rounds its step sizes to f32.
            let tolerance = if method == Method::IntegratedGradients { 1e-5 } else { 1e-6 };
            self.close(method.name(), &map, tolerance);
        }
        // Maps of one sign lie far from zero compared with their range.
        self.close("grad-cam", &self.coarse(GradCam, &self.input), 1e-5);
        let plus_plus = GradCamPlusPlus { epsilon: 1e-6 };
        self.close("grad-cam-plus-plus", &self.coarse(plus_plus, &self.input), 1e-5);
        self.close("layer-cam", &self.coarse(LayerCam, &self.input), 1e-5);
        // A weighted sum over up to 2048 channels: f32 does on both sides, but where it cancels.
        let kind = if self.model.arch() == Arch::DenseNet121 { Kind::Double } else { Kind::Float };
        if kind == Kind::Float {
            self.model.variables_mut().float();
        }
        let weights = ScoreWeights::Probability;
        let score_cam = ScoreCam { weights, align_corners: false, batch_size: 64 };
        self.close("score-cam", &self.coarse(score_cam, &self.input.to_kind(kind)), 2e-5);
    }
}

const OF_ALL: [Method; 5] = [
    Method::Saliency,
    Method::InputXGradient,
    Method::GuidedBackprop,
    Method::IntegratedGradients,
    Method::SIbMap,
];

#[test]
fn resnet18() {
    Photograph::of(Arch::ResNet18).check(&[&OF_ALL[..], &[Method::GuidedGradCam]].concat());
}

#[test]
fn resnet50() {
    Photograph::of(Arch::ResNet50).check(&[&OF_ALL[..], &[Method::GuidedGradCam]].concat());
}

#[test]
fn densenet121() {
    Photograph::of(Arch::DenseNet121).check(&[&OF_ALL[..], &[Method::GuidedGradCam]].concat());
}

#[test]
fn vit_b_32() {
    Photograph::of(Arch::VitB32).check(&OF_ALL);
}
