//! Agreement with torchvision: logits and running statistics of every network, and the objective's
//! gradients of one of each kind. `scripts/golden/models.py` writes the reference values.

use std::collections::BTreeMap;

use sib_core::objective::{
    At, MaskAt, MaskConfig, Measure, SibConfig, Terms, VjpConfig, cross_entropy,
};
use sib_core::testing::{
    fill_by_formula, formula_tensor, golden_path, relative_difference, test_device,
};
use sib_core::{Mode, Probe};
use sib_models::{Arch, Model, ModelOptions};
use tch::{Kind, Tensor};

/// Same graph, same kernels, same libtorch as the reference: only the order of sums may differ.
const F64_TOLERANCE: f64 = 1e-11;
/// The bound that the networks are held to in single precision.
const F32_TOLERANCE: f64 = 1e-4;

const NUM_CLASSES: i64 = 10;

fn golden(arch: Arch) -> BTreeMap<String, Tensor> {
    golden_file(&format!("models_{arch}.safetensors"))
}

fn golden_file(name: &str) -> BTreeMap<String, Tensor> {
    let path = golden_path(name);
    let (tensors, _) = sib_core::checkpoint::read_tensors(&path).expect("golden file");
    tensors.into_iter().map(|(name, tensor)| (name, tensor.to_device(test_device()))).collect()
}

fn model_by_formula(arch: Arch, kind: Kind) -> Model {
    let mut model = Model::new(arch, NUM_CLASSES, test_device(), &ModelOptions::default()).unwrap();
    if kind == Kind::Double {
        model.variables_mut().double();
    }
    fill_by_formula(model.variables_mut());
    model
}

fn images(seed: &Tensor, batch: i64, height: i64, width: i64, kind: Kind) -> Tensor {
    let name = format!("models.images.{}.{height}x{width}", seed.int64_value(&[]));
    formula_tensor(&name, &[batch, 3, height, width]).to_kind(kind).to_device(test_device())
}

/// Norm and dot product with the formula's tensor of that name, of each tensor: `[n,2]`.
fn digests<'a>(tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>) -> Tensor {
    let rows: Vec<_> = tensors
        .into_iter()
        .map(|(name, tensor)| {
            let value = tensor.detach().to_kind(Kind::Double);
            let formula = formula_tensor(name, &value.size()).to_device(value.device());
            Tensor::stack(&[value.norm(), (value * formula).sum(Kind::Double)], 0)
        })
        .collect();
    Tensor::stack(&rows, 0)
}

/// The largest relative difference of two sets of digests, each row in units of its norm; a row that is
/// round-off of the largest, as the gradient of a bias in front of a normalisation, in units of that.
fn digest_difference(ours: &Tensor, reference: &Tensor) -> f64 {
    let norm = reference.select(1, 0);
    let round_off = (norm.max() * 1e-8).clamp_min(f64::MIN_POSITIVE);
    let norm = norm.maximum(&round_off).unsqueeze(1);
    ((ours - reference) / norm).abs().max().double_value(&[])
}

#[test]
fn eval_logits_are_torchvision_s() {
    for arch in Arch::ALL {
        let golden = golden(arch);
        let kinds = [(Kind::Float, F32_TOLERANCE), (Kind::Double, F64_TOLERANCE)];
        // In f64 what the objective is compared for: one of each kind.
        let has_objective = golden.contains_key("f64.total");
        for (kind, tolerance) in kinds.into_iter().take(1 + usize::from(has_objective)) {
            let model = model_by_formula(arch, kind);
            let mut sizes = 0;
            for (name, reference) in &golden {
                let Some((height, width)) =
                    name.strip_prefix("eval.").and_then(|size| size.split_once('x'))
                else {
                    continue;
                };
                let (height, width) = (height.parse().unwrap(), width.parse().unwrap());
                arch.check_image_size(height, width).unwrap();
                let images = images(&golden["seed"], 2, height, width, kind);
                let logits = tch::no_grad(|| model.backbone().forward(&images, Mode::Eval));
                let difference = relative_difference(&logits, reference);
                assert!(difference < tolerance, "{arch} {kind:?} {name}: {difference:e}");
                sizes += 1;
            }
            assert!(sizes >= 2, "{arch}");
        }
    }
}

#[test]
fn train_mode_logits_and_running_statistics_are_torchvision_s() {
    for arch in Arch::ALL {
        let golden = golden(arch);
        let Some(logits) = golden.get("f64.logits") else {
            // Without normalisation over the batch, nor the objective of another of its kind.
            assert!(arch.name().starts_with("vit"), "{arch}");
            continue;
        };
        let model = model_by_formula(arch, Kind::Double);
        let images = images(&golden["seed"], 4, 64, 64, Kind::Double);
        let ours = tch::no_grad(|| model.backbone().forward(&images, Mode::Train));
        let difference = relative_difference(&ours, logits);
        assert!(difference < F64_TOLERANCE, "{arch}: {difference:e}");

        let parameters = model.parameters();
        let mut buffers = model.state_dict();
        buffers.retain(|name, _| !parameters.contains_key(name));
        assert_eq!(buffers.is_empty(), !golden.contains_key("f64.buffers"), "{arch}");
        if !buffers.is_empty() {
            let difference = digest_difference(&digests(&buffers), &golden["f64.buffers"]);
            assert!(difference < F64_TOLERANCE, "{arch}: {difference:e}");
        }
    }
}

/// How far a gradient may be from the reference, in units of its norm. ReLUs, batch statistics of 16
/// values and two backward passes amplify round-off: the gradients of PyTorch in f32 show by how
/// much, 1e7 for the convolutional networks and 1e2 for ViT.
const F64_GRADIENT_TOLERANCE: f64 = 1e-7;
const F32_GRADIENT_TOLERANCE: f64 = 1e-3;

/// The objective's terms on the reference batch, and the gradient of each of them and of their
/// weighted sum with respect to every parameter.
fn assert_objective_is_the_reference_s(arch: Arch, kind: Kind) {
    let prefix = if kind == Kind::Double { "f64" } else { "f32" };
    assert_terms_are_the_reference_s(arch, kind, &SibConfig::default(), &golden(arch), prefix);
}

/// The same with these settings, against the tensors of this prefix.
fn assert_terms_are_the_reference_s(
    arch: Arch,
    kind: Kind,
    config: &SibConfig,
    golden: &BTreeMap<String, Tensor>,
    prefix: &str,
) {
    let (tolerance, gradient_tolerance) = match kind {
        Kind::Double => (F64_TOLERANCE, F64_GRADIENT_TOLERANCE),
        _ => (F32_TOLERANCE, F32_GRADIENT_TOLERANCE),
    };
    let model = model_by_formula(arch, kind);
    let images = images(&golden["seed"], 4, 64, 64, kind);
    let labels = Tensor::arange(4, (Kind::Int64, test_device()));
    let forward = |images: &Tensor, probe: &mut dyn Probe| {
        model.backbone().forward_probed(images, Mode::Train, probe)
    };
    let terms: Terms = config.terms(&images, forward, |z| cross_entropy(z, &labels, 0.0)).unwrap();
    let total = config.total(&terms);
    for (name, tensor) in [("vjp", &terms.vjp), ("mask", &terms.mask)] {
        let reference = golden[&format!("{prefix}.{name}")].unsqueeze(0);
        let difference = digest_difference(&digests([(&name.to_owned(), tensor)]), &reference);
        assert!(difference < tolerance, "{arch} {prefix} {name}: {difference:e}");
    }

    let parameters = model.parameters();
    for (name, term) in [
        ("cross_entropy", &terms.cross_entropy),
        ("foreground", &terms.foreground),
        ("background", &terms.background),
        ("total", &total),
    ] {
        let difference = relative_difference(term, &golden[&format!("{prefix}.{name}")]);
        assert!(difference < tolerance, "{arch} {prefix} {name}: {difference:e}");

        let wanted: Vec<_> = parameters.values().collect();
        let gradients = Tensor::f_run_backward(&[term], &wanted, true, false).unwrap();
        let ours = digests(parameters.keys().zip(&gradients));
        let gradient = digest_difference(&ours, &golden[&format!("{prefix}.grad.{name}")]);
        assert!(gradient < gradient_tolerance, "{arch} {prefix} {name}: gradient {gradient:e}");
    }
}

#[test]
fn resnet18_objective_and_gradients_are_pytorch_s() {
    assert_objective_is_the_reference_s(Arch::ResNet18, Kind::Double);
}

#[test]
fn resnet50_objective_and_gradients_are_pytorch_s() {
    assert_objective_is_the_reference_s(Arch::ResNet50, Kind::Double);
}

#[test]
fn resnext50_objective_and_gradients_are_pytorch_s() {
    assert_objective_is_the_reference_s(Arch::ResNeXt50, Kind::Double);
}

#[test]
fn densenet121_objective_and_gradients_are_pytorch_s() {
    assert_objective_is_the_reference_s(Arch::DenseNet121, Kind::Double);
}

#[test]
fn vgg16_objective_and_gradients_are_pytorch_s() {
    assert_objective_is_the_reference_s(Arch::Vgg16, Kind::Double);
}

#[test]
fn vgg16_bn_objective_and_gradients_are_pytorch_s() {
    assert_objective_is_the_reference_s(Arch::Vgg16Bn, Kind::Double);
}

#[test]
fn vit_b_32_objective_and_gradients_are_pytorch_s() {
    assert_objective_is_the_reference_s(Arch::VitB32, Kind::Double);
    assert_objective_is_the_reference_s(Arch::VitB32, Kind::Float);
}

/// R at a feature map, on a part of the batch, on smaller images, all together, by contributions, with the mask of the
/// image: by `scripts/golden/variants.py`.
fn assert_variants_are_the_reference_s(arch: Arch) {
    let golden = golden_file(&format!("variants_{arch}.safetensors"));
    let at = |stage: &str| {
        let at = At::Layer(arch.tap(stage).unwrap().to_owned());
        SibConfig { vjp: VjpConfig { at, ..VjpConfig::default() }, ..SibConfig::default() }
    };
    let contribution = |mask_at| {
        let config = at("layer3");
        SibConfig {
            vjp: VjpConfig { measure: Measure::Contribution, ..config.vjp },
            mask: MaskConfig { at: mask_at, ..config.mask },
            ..config
        }
    };
    // 48 px of 64: no size for patches of 32, and DenseNet's last normalisation would be over two values.
    let scale = if matches!(arch, Arch::VitB32 | Arch::DenseNet121) { 1.0 } else { 0.75 };
    for (name, config) in [
        ("layer2", at("layer2")),
        ("layer3", at("layer3")),
        ("images", SibConfig { images: Some(2), ..SibConfig::default() }),
        ("scale", SibConfig { scale: 0.5, ..SibConfig::default() }),
        ("all", SibConfig { images: Some(2), scale, ..at("layer2") }),
        ("contribution", contribution(MaskAt::Terms)),
        ("image_mask", contribution(MaskAt::Image)),
    ] {
        assert_terms_are_the_reference_s(arch, Kind::Double, &config, &golden, name);
    }
}

#[test]
fn resnet18_variants_of_the_objective_are_pytorch_s() {
    assert_variants_are_the_reference_s(Arch::ResNet18);
}

#[test]
fn densenet121_variants_of_the_objective_are_pytorch_s() {
    assert_variants_are_the_reference_s(Arch::DenseNet121);
}

#[test]
fn vgg16_bn_variants_of_the_objective_are_pytorch_s() {
    assert_variants_are_the_reference_s(Arch::Vgg16Bn);
}

#[test]
fn vit_b_32_variants_of_the_objective_are_pytorch_s() {
    assert_variants_are_the_reference_s(Arch::VitB32);
}
