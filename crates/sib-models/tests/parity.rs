//! Agreement with torchvision: state dicts, logits and running statistics of all four networks.
//! `scripts/golden/models.py` writes the reference values.

use std::collections::BTreeMap;

use sib_core::Mode;
use sib_core::testing::{
    fill_by_formula, formula_tensor, golden_path, relative_difference, test_device,
};
use sib_models::{Arch, Model, ModelOptions};
use tch::{Kind, Tensor};

/// Same graph, same kernels, same libtorch as the reference: only the order of sums may differ.
const F64_TOLERANCE: f64 = 1e-11;
/// The bound that the networks are held to in single precision.
const F32_TOLERANCE: f64 = 1e-4;

const NUM_CLASSES: i64 = 10;

fn golden(arch: Arch) -> BTreeMap<String, Tensor> {
    let path = golden_path(&format!("models_{arch}.safetensors"));
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

/// The largest relative difference of two sets of digests, each row in units of its norm.
fn digest_difference(ours: &Tensor, reference: &Tensor) -> f64 {
    let norm = reference.select(1, 0).clamp_min(f64::MIN_POSITIVE).unsqueeze(1);
    ((ours - reference) / norm).abs().max().double_value(&[])
}

#[test]
fn state_dicts_are_torchvision_s() {
    for arch in Arch::ALL {
        let model = Model::new(arch, 1000, test_device(), &ModelOptions::default()).unwrap();
        let ours: String = model
            .state_dict()
            .iter()
            .map(|(name, tensor)| {
                let kind = match tensor.kind() {
                    Kind::Float => "float32",
                    Kind::Int64 => "int64",
                    other => panic!("{name}: {other:?}"),
                };
                let shape: Vec<_> = tensor.size().iter().map(i64::to_string).collect();
                format!("{name} {kind} {}", shape.join("x")).trim_end().to_owned() + "\n"
            })
            .collect();
        let path = golden_path(&format!("models_{arch}_keys.txt"));
        let reference = std::fs::read_to_string(path).expect("golden file");
        assert_eq!(ours, reference, "{arch}");
    }
}

#[test]
fn eval_logits_are_torchvision_s() {
    for arch in Arch::ALL {
        let golden = golden(arch);
        for (kind, tolerance) in [(Kind::Double, F64_TOLERANCE), (Kind::Float, F32_TOLERANCE)] {
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
                eprintln!("{arch} {kind:?} {name}: {difference:.1e}");
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
        for (kind, prefix, tolerance) in
            [(Kind::Double, "f64", F64_TOLERANCE), (Kind::Float, "f32", F32_TOLERANCE)]
        {
            let model = model_by_formula(arch, kind);
            let images = images(&golden["seed"], 4, 64, 64, kind);
            let logits = tch::no_grad(|| model.backbone().forward(&images, Mode::Train));
            let difference = relative_difference(&logits, &golden[&format!("{prefix}.logits")]);
            eprintln!("{arch} {kind:?} logits: {difference:.1e}");
            assert!(difference < tolerance, "{arch} {kind:?}: {difference:e}");

            let parameters = model.parameters();
            let mut buffers = model.state_dict();
            buffers.retain(|name, _| !parameters.contains_key(name));
            assert_eq!(!buffers.is_empty(), arch.has_batch_norm());
            if arch.has_batch_norm() {
                let reference = &golden[&format!("{prefix}.buffers")];
                let difference = digest_difference(&digests(&buffers), reference);
                eprintln!("{arch} {kind:?} running statistics: {difference:.1e}");
                assert!(difference < tolerance, "{arch} {kind:?}: {difference:e}");
            }
        }
    }
}
