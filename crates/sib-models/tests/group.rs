//! Several processes train the network that one does.

use std::collections::BTreeMap;

use sib_core::group::Group;
use sib_core::information::Estimator;
use sib_core::objective::{At, Form, SibConfig, Variance, Weights};
use sib_core::testing::{as_members, fill_by_formula, formula_tensor};
use sib_core::train::{Examples, Length, Trainer, UpdateConfig};
use sib_models::{Arch, Model, ModelOptions};
use tch::{Device, Kind, Tensor};

const CLASSES: i64 = 5;
const BATCH: i64 = 8;
const SIDE_PX: i64 = 32;
const UPDATES: u64 = 5;

/// A way to train.
#[derive(Debug, Clone)]
struct Way {
    arch: Arch,
    dropout: f64,
    batches: u64,
    update: UpdateConfig,
    sib: SibConfig,
}

impl Way {
    fn new(arch: Arch) -> Self {
        let mut update = UpdateConfig::default();
        // Updates that depend on the size of the gradient, not on its sign.
        update.optimizer.epsilon = 1e-3;
        // Weights by which every term counts.
        let sib = SibConfig { lambda_bg: 1e4, lambda_fg: 1.0, ..SibConfig::default() };
        Self { arch, dropout: 0.0, batches: 1, update, sib }
    }

    /// The variables after some updates as a member of `group`, and what was measured at each.
    fn outcome(&self, group: &Group) -> (BTreeMap<String, Tensor>, Vec<(String, f64)>) {
        let options = ModelOptions { dropout: self.dropout, ..ModelOptions::default() };
        let mut model = Model::new(self.arch, CLASSES, Device::Cpu, &options).unwrap();
        model.variables_mut().double();
        fill_by_formula(model.variables_mut());
        let length = Length { epochs: 1, steps_per_epoch: UPDATES };
        let (net, variables) = (model.backbone(), model.state_dict());
        let sib = Some(self.sib.clone());
        let trainer = Trainer::new(net, variables, self.update.clone(), sib, length).unwrap();
        let mut trainer = trainer.in_group(group.clone()).unwrap();
        let part = group.part().range("batch_size", BATCH as usize).unwrap();
        let (first, count) = (part.start as i64, part.len() as i64);
        let mut measured = Vec::new();
        for step in 0..UPDATES {
            for batch in 0..self.batches {
                let name = format!("images {step} {batch}");
                let images = formula_tensor(&name, &[BATCH, 3, SIDE_PX, SIDE_PX]);
                let labels = (Tensor::arange(BATCH, (Kind::Int64, Device::Cpu)) + step as i64)
                    .remainder(CLASSES);
                let [images, labels] = [images, labels].map(|it| it.narrow(0, first, count));
                trainer.backward(&Examples::new(images, labels)).unwrap();
            }
            let of_update = trainer.update().unwrap().read();
            measured.extend(of_update.into_iter().map(|(name, it)| (format!("{name} {step}"), it)));
        }
        let mut variables = model.state_dict();
        let state = trainer.state().tensors;
        variables.extend(state.into_iter().filter(|(name, _)| name.starts_with("average")));
        (variables, measured)
    }

    /// Compares what a group makes with what one process does.
    fn expect_same(&self, group: &Group) {
        let (variables, measured) = self.outcome(group);
        for (name, variable) in &variables {
            let all = group.gathered(&variable.detach().unsqueeze(0)).unwrap();
            assert_eq!(all, variable.unsqueeze(0).expand_as(&all), "{name}: members differ");
        }
        if !group.is_first() {
            return;
        }
        let (expected, expected_measured) = self.outcome(&Group::alone());
        for (name, variable) in &variables {
            let expected = &expected[name];
            let worst = (variable - expected).abs().max().double_value(&[]);
            let largest = expected.abs().max().double_value(&[]).max(1.0);
            assert!(worst <= 1e-9 * largest, "{:?} {name}: {worst:.1e}", self.arch);
        }
        assert_eq!(measured.len(), expected_measured.len());
        for ((name, value), (_, expected)) in measured.iter().zip(&expected_measured) {
            let difference = (value - expected).abs();
            assert!(difference <= 1e-8 * expected.abs(), "{name}: {value} instead of {expected}");
        }
    }
}

/// Each setting of an update once.
fn ways() -> Vec<Way> {
    let plain = Way::new(Arch::ResNet18);
    let of = |change: &dyn Fn(&mut Way)| {
        let mut way = plain.clone();
        change(&mut way);
        way
    };
    vec![
        of(&|way| way.sib.enabled = false),
        of(&|way| {
            way.batches = 2;
            way.update.checkpoint_blocks = true;
            way.update.clip_norm = Some(0.1);
            way.update.ema_decay = Some(0.9);
            way.update.label_smoothing = 0.1;
            way.update.log_gradient_norms = 1;
            way.sib.weights = Weights::GradientShare;
            way.sib.gradient_share.every_steps = 2;
        }),
        of(&|way| {
            way.sib.form = Form::Exponential;
            way.sib.hsic.projection = Some(64);
            way.sib.hsic.estimator = Estimator::Unbiased;
        }),
        of(&|way| {
            way.sib.background.variance = Variance::Batch;
            way.sib.hsic.estimator = Estimator::Cka;
            way.sib.every = 2;
        }),
        of(&|way| {
            way.sib.vjp.at = At::Layer("layer2".to_owned());
            way.sib.images = Some(4);
            way.sib.scale = 0.75;
        }),
    ]
}

#[test]
fn two_processes_train_a_resnet_as_one_does() {
    as_members("two_processes_train_a_resnet_as_one_does", 2, |group| {
        Way::new(Arch::ResNet18).expect_same(&group);
        ways().iter().for_each(|way| way.expect_same(&group));
    });
}

#[test]
fn four_processes_train_a_densenet_as_one_does() {
    as_members("four_processes_train_a_densenet_as_one_does", 4, |group| {
        Way { dropout: 0.2, ..Way::new(Arch::DenseNet121) }.expect_same(&group);
    });
}

#[test]
fn two_processes_train_a_vision_transformer_as_one_does() {
    as_members("two_processes_train_a_vision_transformer_as_one_does", 2, |group| {
        Way { dropout: 0.1, ..Way::new(Arch::VitB32) }.expect_same(&group);
    });
}

#[test]
fn without_synchronised_normalisation_each_member_normalises_by_itself() {
    as_members("without_synchronised_normalisation_each_member_normalises_by_itself", 2, |group| {
        let mut way = Way::new(Arch::ResNet18);
        way.update.sync_batch_norm = false;
        let (variables, measured) = way.outcome(&group);
        let (together, of_one) = Way::new(Arch::ResNet18).outcome(&Group::alone());
        // Weights agree all the same, running statistics do not.
        for (name, variable) in &variables {
            let all = group.gathered(&variable.detach().unsqueeze(0)).unwrap();
            let is_same = all == variable.unsqueeze(0).expand_as(&all);
            assert_eq!(
                is_same,
                !name.ends_with("running_mean") && !name.ends_with("running_var"),
                "{name}"
            );
        }
        assert_ne!(variables["conv1.weight"], together["conv1.weight"]);
        assert_ne!(measured[0].1, of_one[0].1);
    });
}
