//! Networks with their last layers initialised anew.

use sib_core::testing::fill_by_formula;
use sib_models::{Arch, Model, ModelOptions, Part};
use tch::Device;

#[test]
fn the_head_and_then_the_last_stage_are_new_and_nothing_else() {
    for arch in [Arch::ResNet18, Arch::DenseNet121, Arch::Vgg16Bn, Arch::VitB32] {
        let mut model = Model::new(arch, 3, Device::Cpu, &ModelOptions::default()).unwrap();
        // Not another fresh network: ViT's head starts at zero every time.
        fill_by_formula(model.variables_mut());
        let [without_head, without_stage] =
            [Part::Head, Part::LastStage].map(|part| model.reinitialised(part, 2).unwrap());
        let changed = |other: &Model| -> Vec<String> {
            let other = other.state_dict();
            let mut names: Vec<String> = model
                .parameters()
                .into_iter()
                .filter(|(name, value)| value.dim() > 1 && !value.equal(&other[name]))
                .map(|(name, _)| name)
                .collect();
            names.sort();
            names
        };
        let head = format!("{}.weight", arch.head());
        let drawn = &without_head.state_dict()[&head];
        assert!(drawn.std(false).double_value(&[]) > 1e-3, "{arch}");
        assert_eq!(changed(&without_head), std::slice::from_ref(&head), "{arch}");
        let last_stage = changed(&without_stage);
        assert!(last_stage.len() > 2 && last_stage.contains(&head), "{arch}: {last_stage:?}");
        let expected = |name: &String| {
            *name == head || arch.last_stage().iter().any(|stage| name.starts_with(stage))
        };
        assert!(last_stage.iter().all(expected), "{arch}: {last_stage:?}");
    }
}
