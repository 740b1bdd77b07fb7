//! Activation checkpointing changes memory and time, and no number.

use std::sync::{Mutex, PoisonError};

use sib_core::objective::{At, SibConfig, VjpConfig, cross_entropy};
use sib_core::testing::{fill_by_formula, formula_tensor, test_device};
use sib_core::{Mode, Probe, recompute};
use sib_models::{Arch, Model, ModelOptions};
use tch::{Kind, Tensor};

const CLASSES: i64 = 5;
const BATCH: i64 = 3;

/// A network in f64 with dropout where it has any.
fn model(arch: Arch) -> Model {
    let options = match arch {
        Arch::DenseNet121 | Arch::Vgg16Bn => {
            ModelOptions { dropout: 0.2, ..ModelOptions::default() }
        }
        Arch::VitB32 => ModelOptions { dropout: 0.2, attention_dropout: 0.1 },
        _ => ModelOptions::default(),
    };
    let mut model = Model::new(arch, CLASSES, test_device(), &options).unwrap();
    model.variables_mut().double();
    fill_by_formula(model.variables_mut());
    model
}

fn images() -> Tensor {
    let images = formula_tensor("images", &[BATCH, 3, 64, 64]).to_kind(Kind::Double);
    images.to_device(test_device())
}

fn labels() -> Tensor {
    Tensor::arange(BATCH, (Kind::Int64, test_device()))
}

/// What a pass leaves behind: gradients by parameter, buffers by name, and what the random
/// generator gives next.
#[derive(Debug)]
struct Outcome {
    values: Vec<Tensor>,
    gradients: Vec<(String, Tensor)>,
    buffers: Vec<(String, Tensor)>,
    next: Tensor,
}

/// Of `model` with the buffers that it began with.
fn outcome(
    model: &Model,
    begun: &[(String, Tensor)],
    recomputing: bool,
    loss: impl Fn(&Model) -> (Tensor, Vec<Tensor>),
) -> Outcome {
    let state = model.state_dict();
    begun.iter().for_each(|(name, buffer)| state[name].shallow_clone().copy_(buffer));
    tch::manual_seed(7);
    let (loss, values) = recompute::within(recomputing, || loss(model));
    let parameters = model.parameters();
    let wanted: Vec<_> = parameters.values().collect();
    let gradients = Tensor::f_run_backward(&[loss], &wanted, false, false).unwrap();
    Outcome {
        values: values.iter().map(Tensor::detach).collect(),
        gradients: parameters.into_keys().zip(gradients).collect(),
        buffers: buffers(model),
        next: Tensor::rand([3], (Kind::Double, test_device())),
    }
}

/// Copies of what a network holds besides its parameters.
fn buffers(model: &Model) -> Vec<(String, Tensor)> {
    let parameters = model.parameters();
    let mut buffers = model.state_dict();
    buffers.retain(|name, _| !parameters.contains_key(name));
    buffers.into_iter().map(|(name, buffer)| (name, buffer.copy())).collect()
}

/// The objective of S-IB, with R and the mask.
fn s_ib(model: &Model) -> (Tensor, Vec<Tensor>) {
    objective(model, SibConfig::default())
}

/// The same with R at a feature map, in a pass of its own.
fn s_ib_of_smaller_images(model: &Model) -> (Tensor, Vec<Tensor>) {
    let at = At::Layer(model.arch().tap("layer2").unwrap().to_owned());
    let vjp = VjpConfig { at, ..VjpConfig::default() };
    // 48 px, since a map of one cell has no layout of its own to keep; or a patch of a transformer.
    let scale = if model.arch() == Arch::VitB32 { 0.5 } else { 0.75 };
    objective(model, SibConfig { scale, vjp, ..SibConfig::default() })
}

fn objective(model: &Model, sib: SibConfig) -> (Tensor, Vec<Tensor>) {
    // Weights by which every term counts.
    let sib = SibConfig { lambda_bg: 1e6, lambda_fg: 10.0, ..sib };
    let labels = labels();
    let loss = |logits: &Tensor| cross_entropy(logits, &labels, 0.0);
    let forward = |images: &Tensor, probe: &mut dyn Probe| {
        model.backbone().forward_probed(images, Mode::Train, probe)
    };
    let terms = sib.terms(&images(), forward, loss).unwrap();
    (sib.total(&terms), vec![terms.logits, terms.vjp, terms.mask])
}

/// Cross-entropy alone, of images that require no gradient.
fn plain(model: &Model) -> (Tensor, Vec<Tensor>) {
    let logits = model.backbone().forward(&images(), Mode::Train);
    (cross_entropy(&logits, &labels(), 0.0), vec![logits])
}

#[track_caller]
fn assert_checkpointing_changes_nothing(arch: Arch) {
    // Random numbers come from a generator that all threads share.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    type Loss = fn(&Model) -> (Tensor, Vec<Tensor>);
    let cases: [(&str, Loss); 3] =
        [("S-IB", s_ib), ("S-IB of smaller images", s_ib_of_smaller_images), ("plain", plain)];
    let model = model(arch);
    let begun = buffers(&model);
    let mut moved = None;
    for (case, loss) in cases {
        let kept = outcome(&model, &begun, false, loss);
        let recomputed = outcome(&model, &begun, true, loss);
        assert_eq!(recomputed.values, kept.values, "{arch} {case}");
        assert_eq!(recomputed.buffers, kept.buffers, "{arch} {case}");
        // Running statistics move once a step, by the images of cross-entropy.
        let first = moved.get_or_insert(kept.buffers);
        assert_eq!(recomputed.buffers, *first, "{arch} {case}");
        assert_eq!(recomputed.next, kept.next, "{arch} {case}: random numbers");
        let squares = |(_, gradient): &(String, Tensor)| {
            if gradient.defined() { gradient.norm().double_value(&[]).powi(2) } else { 0.0 }
        };
        let whole = kept.gradients.iter().map(squares).sum::<f64>().sqrt();
        assert!(whole > 1e-3, "{arch} {case}: nothing to compare");
        for ((name, ours), (_, reference)) in recomputed.gradients.iter().zip(&kept.gradients) {
            assert_eq!(ours.defined(), reference.defined(), "{arch} {case} {name}");
            if ours.defined() {
                let difference = (ours - reference).norm().double_value(&[]);
                // A bias in front of a normalisation has no gradient but round-off.
                let bound = 1e-9 * reference.norm().double_value(&[]) + 1e-15 * whole;
                assert!(difference <= bound, "{arch} {case} {name}: {difference:e}");
            }
        }
    }
}

#[test]
fn resnet18_has_the_same_step() {
    assert_checkpointing_changes_nothing(Arch::ResNet18);
}

#[test]
fn resnet50_has_the_same_step() {
    assert_checkpointing_changes_nothing(Arch::ResNet50);
}

#[test]
fn resnext50_has_the_same_step() {
    assert_checkpointing_changes_nothing(Arch::ResNeXt50);
}

#[test]
fn vgg16_bn_has_the_same_step() {
    assert_checkpointing_changes_nothing(Arch::Vgg16Bn);
}

#[test]
fn densenet121_has_the_same_step() {
    assert_checkpointing_changes_nothing(Arch::DenseNet121);
}

#[test]
fn vit_b_32_has_the_same_step() {
    assert_checkpointing_changes_nothing(Arch::VitB32);
}
