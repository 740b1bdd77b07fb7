//! New networks against torchvision's. Alone in its program, since it seeds the generator that all
//! tests of a program share.

use std::collections::BTreeMap;

use sib_core::testing::{golden_path, test_device};
use sib_models::{Arch, Model, ModelOptions};
use tch::{Kind, Tensor};

fn new(arch: Arch) -> BTreeMap<String, Tensor> {
    Model::new(arch, 1000, test_device(), &ModelOptions::default()).unwrap().state_dict()
}

#[test]
fn initialisation_is_torchvision_s_and_follows_the_seed() {
    for arch in Arch::ALL {
        tch::manual_seed(7);
        let first = new(arch);
        let path = golden_path(&format!("models_{arch}_init.safetensors"));
        let (golden, _) = sib_core::checkpoint::read_tensors(&path).expect("golden file");
        for ((name, ours), reference) in first.iter().zip(golden["moments"].unbind(0)) {
            let ours = ours.to_kind(Kind::Double).flatten(0, -1);
            let n = ours.numel() as f64;
            let std = reference.double_value(&[1]);
            // Both sides are one random draw: six standard errors of the difference of two means,
            // and of two standard deviations of at worst normal values.
            let error = 6.0 * std * (2.0 / n).sqrt();
            let mean = ours.mean(Kind::Double).double_value(&[]);
            assert!((mean - reference.double_value(&[0])).abs() <= error, "{arch}: {name}: mean");
            let ours_std =
                (ours.square().mean(Kind::Double).double_value(&[]) - mean * mean).sqrt();
            assert!((ours_std - std).abs() <= error, "{arch}: {name}: {ours_std} {std}");
            // The largest of many values tells uniform (1.7 deviations) from normal (over 3.5).
            if n > 5000.0 {
                let largest = ours.abs().max().double_value(&[]);
                let ratio = largest / reference.double_value(&[2]).max(f64::MIN_POSITIVE);
                assert!(std == 0.0 || (0.7..1.4).contains(&ratio), "{arch}: {name}: {ratio}");
            }
        }
        if [Arch::ResNet18, Arch::DenseNet121, Arch::Vgg16Bn].contains(&arch) {
            tch::manual_seed(7);
            let second = new(arch);
            assert!(first.iter().all(|(name, tensor)| tensor.equal(&second[name])), "{arch}");
            let third = new(arch);
            assert!(first.iter().any(|(name, tensor)| !tensor.equal(&third[name])), "{arch}");
        }
    }
}
