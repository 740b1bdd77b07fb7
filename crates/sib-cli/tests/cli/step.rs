//! One training step of the whole objective on ResNet-18 equals the same step in PyTorch
//! (`scripts/golden/step.py`): same weights, same batch.

use std::collections::BTreeMap;

use sib_core::objective::SibConfig;
use sib_core::testing::{
    fill_by_formula, formula_tensor, golden_path, relative_difference, test_device,
};
use sib_core::train::{Examples, Length, OptimizerConfig, OptimizerKind, Trainer, UpdateConfig};
use sib_models::{Arch, Model, ModelOptions};
use tch::{Kind, Tensor};

const CLASSES: i64 = 10;

/// Every so-manieth element, as the golden file holds them.
fn sample(tensor: &Tensor) -> Tensor {
    let flat = tensor.flatten(0, -1);
    let n = flat.numel() as i64;
    flat.slice(0, 0, n, (n / 256).max(1)).to_device(tch::Device::Cpu)
}

fn relative_distance(a: &Tensor, b: &Tensor) -> f64 {
    let norm = |x: &Tensor| x.to_kind(Kind::Double).norm().double_value(&[]);
    norm(&(a - b)) / norm(b).max(f64::MIN_POSITIVE)
}

#[test]
fn one_step_of_resnet18_equals_pytorchs() {
    let golden: BTreeMap<String, Tensor> =
        Tensor::read_safetensors(golden_path("step.safetensors")).unwrap().into_iter().collect();
    let device = test_device();
    for (name, kind, learning_rate) in
        [("adamw", OptimizerKind::AdamW, 1e-4), ("sgd", OptimizerKind::Sgd, 1e-2)]
    {
        let mut model =
            Model::new(Arch::ResNet18, CLASSES, device, &ModelOptions::default()).unwrap();
        fill_by_formula(model.variables_mut());
        let optimizer = OptimizerConfig { kind, learning_rate, ..OptimizerConfig::default() };
        let config = UpdateConfig { optimizer, ..UpdateConfig::default() };
        let sib = Some(SibConfig::default());
        let length = Length { epochs: 90, steps_per_epoch: 1 };
        let mut trainer =
            Trainer::new(model.backbone(), model.state_dict(), config, sib, length).unwrap();

        let images = formula_tensor("images", &[4, 3, 64, 64]).to_kind(Kind::Float);
        let labels = Tensor::arange(4, (Kind::Int64, device));
        trainer.backward(&Examples::new(images.to_device(device), labels)).unwrap();
        let measured = trainer.update().unwrap();

        for (ours, theirs) in [
            ("cross_entropy", "cross_entropy"),
            ("hsic", "hsic_foreground"),
            ("background", "background_variance"),
            ("loss", "total_linear"),
        ] {
            let value = measured.read().iter().find(|(key, _)| *key == ours).unwrap().1;
            let reference = golden[&format!("{name}.{theirs}")].double_value(&[]);
            assert!((value / reference - 1.0).abs() < 1e-5, "{name}, {ours}: {value} {reference}");
        }
        for (key, value) in model.state_dict() {
            if value.kind() != Kind::Float {
                continue;
            }
            let (value, reference) = (sample(&value), &golden[&format!("{name}.{key}")]);
            // AdamW's first step is the learning rate times the gradient's sign: where the gradient
            // is zero but for rounding, the sign is arbitrary, so it is held to the norm.
            let difference = match kind {
                OptimizerKind::AdamW => relative_distance(&value, reference),
                OptimizerKind::Sgd => relative_difference(&value, reference),
            };
            assert!(difference < 1e-5, "{name}, {key}: {difference:e}");
        }
    }
}
