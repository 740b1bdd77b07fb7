//! Training in bfloat16: what stays f32, and how far the gradients are from those of f32.

use sib_core::Probe;
use sib_core::objective::{MaskConfig, SibConfig, Terms, cross_entropy};
use sib_core::testing::{formula_tensor, test_device};
use sib_core::train::Precision;
use sib_models::{Arch, Model, ModelOptions};
use tch::{Kind, Tensor};

const BATCH: i64 = 8;

fn model(arch: Arch) -> Model {
    tch::manual_seed(11);
    let options = ModelOptions { dropout: 0.0, ..ModelOptions::default() };
    let model = Model::new(arch, 5, test_device(), &options).unwrap();
    tch::no_grad(|| {
        for (key, mut variable) in model.parameters() {
            if key.ends_with("head.weight") {
                // Zeros, as of a new vision transformer, hide everything before them.
                let _ = variable.normal_(0.0, 0.05);
            } else if key.starts_with("layer") && key.ends_with("bn2.weight") {
                // Residual branches that add little, as of a trained network: one of random weights doubles any
                // difference from block to block.
                let _ = variable.fill_(0.2);
            }
        }
    });
    model
}

fn batch() -> (Tensor, Tensor) {
    let images = formula_tensor("images", &[BATCH, 3, 64, 64]) * 2;
    let labels = Tensor::arange(BATCH, (Kind::Int64, test_device())).remainder(5);
    (images.to_kind(Kind::Float).to_device(test_device()), labels)
}

/// With a mask that is a constant to the derivatives: those through its quantiles rest on a single pixel each,
/// which any rounding can swap for another.
fn sib() -> SibConfig {
    SibConfig { mask: MaskConfig { detach: true, ..MaskConfig::default() }, ..SibConfig::default() }
}

/// The terms, and the whole gradient of each of L_ce, L_fg and L_bg as a vector of f64.
fn of(arch: Arch, precision: Precision) -> (Terms, [Tensor; 3]) {
    let model = model(arch);
    let (images, labels) = batch();
    let forward =
        |images: &Tensor, probe: &mut dyn Probe| precision.forward(model.backbone(), images, probe);
    let terms = sib().terms(&images, forward, |z| cross_entropy(z, &labels, 0.0)).unwrap();
    let parameters = model.parameters();
    let wanted: Vec<_> = parameters.values().collect();
    let gradients = [&terms.cross_entropy, &terms.foreground, &terms.background].map(|term| {
        let gradients = Tensor::f_run_backward(&[term], &wanted, true, false).unwrap();
        let defined = gradients.iter().zip(&wanted).filter(|(gradient, _)| gradient.defined());
        let flat = defined.map(|(gradient, variable)| {
            assert_eq!(gradient.kind(), variable.kind(), "{arch}");
            gradient.to_kind(Kind::Double).flatten(0, -1)
        });
        Tensor::cat(&flat.collect::<Vec<_>>(), 0)
    });
    (terms, gradients)
}

fn cosine(a: &Tensor, b: &Tensor) -> f64 {
    let [a, b] = [a, b].map(|x| x.to_kind(Kind::Double).flatten(0, -1));
    (a.dot(&b) / (a.norm() * b.norm())).double_value(&[])
}

#[test]
fn bfloat16_keeps_the_direction_of_gradients() {
    // What rounding does to a network of random weights grows with its depth.
    for (arch, least) in
        [(Arch::ResNet18, 0.9), (Arch::DenseNet121, 0.6), (Arch::Vgg16, 0.9), (Arch::VitB32, 0.998)]
    {
        let (exact, exact_gradients) = of(arch, Precision::F32);
        let (rounded, rounded_gradients) = of(arch, Precision::Bf16);
        for tensor in [&rounded.logits, &rounded.vjp, &rounded.mask, &rounded.background] {
            assert_eq!(tensor.kind(), Kind::Float, "{arch}");
        }
        assert_ne!(rounded.logits, exact.logits, "{arch} was not computed in bfloat16");
        assert!(cosine(&rounded.vjp, &exact.vjp) > least, "{arch}, R");
        for (name, rounded, exact) in [
            ("L_ce", &rounded_gradients[0], &exact_gradients[0]),
            ("L_fg", &rounded_gradients[1], &exact_gradients[1]),
            ("L_bg", &rounded_gradients[2], &exact_gradients[2]),
        ] {
            let (cosine, least) =
                (cosine(rounded, exact), if name == "L_fg" { least - 0.4 } else { least });
            assert!(cosine > least, "{arch}, {name}: {cosine}");
        }
    }
}
