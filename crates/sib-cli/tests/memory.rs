//! Training holds its memory: nothing of a step's two graphs outlives the step.

use sib_core::objective::SibConfig;
use sib_core::testing::{formula_tensor, test_device};
use sib_core::train::{TrainConfig, Trainer};
use sib_models::{Arch, Model, ModelOptions};
use tch::{Kind, Tensor};

/// Resident memory of this process in bytes; `None` where the system does not say.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib * 1024.0)
}

#[test]
fn two_hundred_s_ib_steps_hold_resident_memory() {
    let device = test_device();
    let model = Model::new(Arch::ResNet18, 10, device, &ModelOptions::default()).unwrap();
    let parameters = model.parameters();
    let sib = Some(SibConfig::default());
    let mut trainer = Trainer::new(model.backbone(), parameters, TrainConfig::default(), sib, 200);
    let images = formula_tensor("images", &[2, 3, 64, 64]).to_kind(Kind::Float).to_device(device);
    let labels = Tensor::arange(2, (Kind::Int64, device));
    let mut resident = Vec::new();
    for _ in 0..200 {
        trainer.step(&images, &labels).unwrap();
        resident.extend(resident_bytes());
    }
    if resident.is_empty() {
        eprintln!("skipped: this system does not tell a process's resident memory");
        return;
    }
    // Medians: the allocator lends a few megabytes for single steps and takes them back.
    let (early, late) = (median(&resident[10..40]), median(&resident[170..]));
    assert!((late / early - 1.0).abs() < 0.02, "{early} bytes became {late}");
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
