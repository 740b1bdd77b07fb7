//! `train` on a part of a network.

use std::collections::BTreeMap;
use std::path::Path;

use tch::Tensor;

use crate::workplace::{Workplace, assert_refused, assert_success};

fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    sib_core::checkpoint::read_tensors(path).unwrap().0
}

#[test]
fn a_frozen_backbone_keeps_its_weights_and_statistics() {
    let place = Workplace::with_checkpoint();
    let settings = [
        "model.weights=net.safetensors",
        "train.freeze=backbone",
        "train.head_lr_factor=100",
        "train.epochs=1",
    ];
    assert_success(&place.train("run", &settings));
    let before = tensors(&place.path("net.safetensors"));
    let after = tensors(&place.path("run/checkpoints/last.safetensors"));
    let changed: Vec<&String> =
        before.iter().filter(|(key, value)| after[*key] != **value).map(|(key, _)| key).collect();
    assert_eq!(changed, ["fc.bias", "fc.weight"]);
    let state = tensors(&place.path("run/checkpoints/state-5.safetensors"));
    let kept: Vec<&String> = state.keys().collect();
    assert_eq!(kept, ["first.fc.bias", "first.fc.weight", "second.fc.bias", "second.fc.weight"]);
}

#[test]
fn first_stages_stay_and_the_run_goes_on_with_the_rest() {
    let place = Workplace::with_checkpoint();
    let stages = "train.freeze=['conv1', 'bn1', 'layer1']";
    let settings = ["model.weights=net.safetensors", stages, "train.epochs=1"];
    assert_success(&place.train("through", &settings));
    let hurried = [&settings[..], &["train.max_hours=1e-9"]].concat();
    assert_success(&place.train("stopped", &hurried));
    let resume = ["train", "--resume", "stopped", "--set"];
    let other = [&resume[..], &["train.freeze=conv1"]].concat();
    let expected =
        "train.freeze was [\"conv1\", \"bn1\", \"layer1\"] when the run was saved, now it is conv1";
    assert_refused(&place.run(&other), 2, expected);
    assert_success(&place.run(&[&resume[..], &["train.max_hours=1"]].concat()));
    let [through, stopped] = ["through", "stopped"]
        .map(|run| tensors(&place.path(run).join("checkpoints/last.safetensors")));
    assert_eq!(through, stopped);
    for (key, value) in tensors(&place.path("net.safetensors")) {
        let is_frozen = ["conv1.", "bn1.", "layer1."].iter().any(|stage| key.starts_with(stage));
        assert_eq!(through[&key] == value, is_frozen, "{key}");
    }
}

#[test]
fn what_cannot_be_frozen_is_refused_with_what_there_is() {
    let place = Workplace::new();
    let refused = |setting: &str, expected: &str| {
        assert_refused(&place.train("run", &[setting]), 2, expected);
        assert!(!place.path("run").exists());
    };
    let there = "expected one of bn1, conv1, fc, layer1, layer2, layer3, layer4";
    refused("train.freeze=layer5", &format!("train.freeze: got layer5, {there}"));
    refused(
        "train.freeze=['layer1.0', 'layer1.2']",
        "train.freeze: got layer1.2, expected one of layer1.0, layer1.1",
    );
    refused(
        "train.freeze=['backbone', 'fc']",
        "got every parameter, expected something left to train",
    );
    refused("train.freeze=3", "train.freeze: expected \"backbone\", a state-dict prefix or a list");
    refused("train.head_lr_factor=0", "train.head_lr_factor: got 0, expected a number above 0");
    let [freeze, factor] = ["train.freeze=fc", "train.head_lr_factor=2"];
    let output = place.train("run", &[freeze, factor]);
    assert_refused(
        &output,
        2,
        "train.head_lr_factor: got 2, expected a final layer that is trained",
    );
}
