//! What every architecture promises: probes, modes, image sizes, checkpoints.

mod kinds;

use std::collections::BTreeMap;

use kinds::KINDS;
use sib_core::checkpoint::{CheckpointMeta, Preprocessing, write_checkpoint, write_tensors};
use sib_core::testing::{fill_by_formula, formula_tensor, relative_difference, test_device};
use sib_core::{Error, Mode, Probe};
use sib_models::{Arch, Model, ModelOptions};
use tch::{Device, Kind, Tensor};

fn model(arch: Arch, num_classes: i64) -> Model {
    Model::new(arch, num_classes, test_device(), &ModelOptions::default()).unwrap()
}

fn model_by_formula(arch: Arch) -> Model {
    let mut model = model(arch, 5);
    fill_by_formula(model.variables_mut());
    model
}

fn images(batch: i64, size_px: i64) -> Tensor {
    let images = formula_tensor("images", &[batch, 3, size_px, size_px]);
    images.to_kind(Kind::Float).to_device(test_device())
}

/// Counts ReLUs, notes the taps, and zeroes the map named `zeroed`.
#[derive(Default)]
struct Recorder {
    relus: usize,
    taps: Vec<(String, Vec<i64>)>,
    zeroed: Option<&'static str>,
}

impl Probe for Recorder {
    fn relu(&mut self, x: &Tensor) -> Tensor {
        self.relus += 1;
        x.relu()
    }

    fn tap(&mut self, layer: &str, x: Tensor) -> Tensor {
        self.taps.push((layer.to_owned(), x.size()));
        if self.zeroed == Some(layer) { x.zeros_like() } else { x }
    }
}

#[test]
fn probes_see_every_relu_and_tap_and_what_they_return_flows_on() {
    // Channels and side, at 64 px, of the default tap; ReLUs by the papers' tables.
    for (arch, relus, channels, side) in [
        (Arch::ResNet18, 17, 512, 2),
        (Arch::ResNet34, 33, 512, 2),
        (Arch::ResNet50, 49, 2048, 2),
        (Arch::ResNet101, 100, 2048, 2),
        (Arch::ResNet152, 151, 2048, 2),
        (Arch::WideResNet50x2, 49, 2048, 2),
        (Arch::ResNeXt50, 49, 2048, 2),
        (Arch::DenseNet121, 121, 1024, 2),
        (Arch::DenseNet161, 161, 2208, 2),
        (Arch::DenseNet169, 169, 1664, 2),
        (Arch::DenseNet201, 201, 1920, 2),
        (Arch::Vgg16, 15, 512, 4),
        (Arch::Vgg16Bn, 15, 512, 4),
        (Arch::VitB16, 0, 768, 4),
        (Arch::VitB32, 0, 768, 2),
        (Arch::VitL16, 0, 1024, 4),
        (Arch::VitL32, 0, 1024, 2),
    ] {
        let model = model_by_formula(arch);
        let net = model.backbone();
        tch::no_grad(|| {
            let images = images(2, 64);
            let plain = net.forward(&images, Mode::Eval);
            let mut recorder = Recorder::default();
            let probed = net.forward_probed(&images, Mode::Eval, &mut recorder);
            assert_eq!(probed, plain, "{arch}");
            assert_eq!(recorder.relus, relus, "{arch}");
            let names: Vec<_> = recorder.taps.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, arch.taps());
            let cam = recorder
                .taps
                .iter()
                .find(|(name, _)| Some(name.as_str()) == net.cam_layer())
                .unwrap();
            assert_eq!(cam.1, [2, channels, side, side], "{arch}");

            for name in arch.taps() {
                let mut recorder = Recorder { zeroed: Some(name), ..Recorder::default() };
                let changed = net.forward_probed(&images, Mode::Eval, &mut recorder);
                assert!(relative_difference(&changed, &plain) > 1e-4, "{arch}: {name}");
            }
        });
    }
}

/// The gradient of the logits with respect to a tapped map reaches it when it is cut off.
#[test]
fn class_activation_maps_get_gradients_at_the_default_tap() {
    struct Cut<'l>(&'l str, Option<Tensor>);
    impl Probe for Cut<'_> {
        fn tap(&mut self, layer: &str, x: Tensor) -> Tensor {
            if layer != self.0 {
                return x;
            }
            let map = x.detach().set_requires_grad(true);
            self.1 = Some(map.shallow_clone());
            map
        }
    }
    for arch in KINDS {
        let model = model_by_formula(arch);
        let mut cut = Cut(model.backbone().cam_layer().unwrap(), None);
        let logits = model.backbone().forward_probed(&images(2, 64), Mode::Eval, &mut cut);
        let map = cut.1.unwrap();
        let gradients =
            Tensor::f_run_backward(&[logits.select(1, 3).sum(Kind::Float)], &[&map], false, false);
        let gradient = &gradients.unwrap()[0];
        assert_eq!(gradient.size(), map.size(), "{arch}");
        assert!(gradient.abs().max().double_value(&[]) > 0.0, "{arch}");
    }
}

#[test]
fn dropout_is_active_in_train_mode_only() {
    let options = ModelOptions { dropout: 0.5, attention_dropout: 0.0 };
    for (arch, options) in [
        (Arch::DenseNet121, options),
        (Arch::Vgg16, options),
        (Arch::VitB32, options),
        (Arch::VitB32, ModelOptions { dropout: 0.0, attention_dropout: 0.5 }),
    ] {
        let mut dropping = Model::new(arch, 5, test_device(), &options).unwrap();
        fill_by_formula(dropping.variables_mut());
        let (net, images) = (dropping.backbone(), images(2, 64));
        tch::no_grad(|| {
            let plain = model_by_formula(arch).backbone().forward(&images, Mode::Eval);
            assert_eq!(net.forward(&images, Mode::Eval), plain, "{arch}");
            let [first, second] = [(); 2].map(|()| net.forward(&images, Mode::Train));
            assert!(relative_difference(&first, &second) > 1e-3, "{arch}");
        });
    }
    for (arch, options, key) in [
        (Arch::ResNet18, options, "dropout"),
        (
            Arch::DenseNet121,
            ModelOptions { dropout: 0.0, attention_dropout: 0.1 },
            "attention_dropout",
        ),
        (Arch::VitB32, ModelOptions { dropout: 1.0, attention_dropout: 0.0 }, "dropout"),
        (Arch::VitB32, ModelOptions { dropout: f64::NAN, attention_dropout: 0.0 }, "dropout"),
    ] {
        let error = Model::new(arch, 5, Device::Cpu, &options).unwrap_err();
        assert!(matches!(&error, Error::Invalid { key: found, .. } if found == key), "{error}");
    }
}

#[test]
fn checkpoints_give_back_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let meta = CheckpointMeta {
        classes: ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec(),
        preprocessing: Preprocessing { crop_px: 64, ..Preprocessing::default() },
        ..CheckpointMeta::default()
    };
    let model = model_by_formula(Arch::ResNet18);
    let images = images(4, 64);
    let _ = tch::no_grad(|| model.backbone().forward(&images, Mode::Train));
    model.save(&path, &meta).unwrap();
    let (read, read_meta) = Model::from_checkpoint(&path, test_device()).unwrap();
    assert_eq!((read.arch(), read.num_classes()), (Arch::ResNet18, 5));
    assert_eq!(read_meta, CheckpointMeta { arch: "resnet18".to_owned(), ..meta.clone() });
    let (before, after) = (model.state_dict(), read.state_dict());
    assert!(before.iter().all(|(name, tensor)| tensor.equal(&after[name])));
    assert_eq!(after["bn1.num_batches_tracked"].kind(), Kind::Int64);
    assert_eq!(after["bn1.num_batches_tracked"].int64_value(&[]), 1);
    assert_eq!(read.parameters().len(), 62);

    let refused = |state: &BTreeMap<String, Tensor>, meta: &CheckpointMeta| {
        write_checkpoint(&path, state, meta).unwrap();
        Model::from_checkpoint(&path, Device::Cpu).unwrap_err().to_string()
    };
    let arch = |name: &str| CheckpointMeta { arch: name.to_owned(), ..meta.clone() };
    let message = refused(&before, &arch("resnet19"));
    assert!(message.contains(&Arch::names()), "{message}");
    assert!(refused(&before, &arch("densenet121")).contains("lacks \"classifier.weight\""));
    assert!(refused(&before, &arch("resnet50")).contains("not resnet50"));
    let four = CheckpointMeta {
        classes: ["a", "b", "c", "d"].map(str::to_owned).into(),
        ..arch("resnet18")
    };
    assert!(refused(&before, &four).contains("names 4 classes, but has 5 logits"));
    let mut short = model.state_dict();
    short.remove("bn1.running_mean");
    assert!(refused(&short, &arch("resnet18")).contains("missing: bn1.running_mean"));

    write_tensors(&path, &before, &BTreeMap::new()).unwrap();
    let error = Model::from_checkpoint(&path, Device::Cpu).unwrap_err();
    assert!(matches!(error, Error::NotACheckpoint { .. }), "{error}");
}

#[test]
fn names_and_image_sizes_are_checked() {
    for arch in Arch::ALL {
        assert_eq!(arch.to_string().parse::<Arch>().unwrap(), arch);
        assert!(arch.check_image_size(224, 224).is_ok());
        assert!(arch.check_image_size(0, 224).is_err());
    }
    let error = "resnet-18".parse::<Arch>().unwrap_err().to_string();
    let expected = "arch: got \"resnet-18\", expected one of resnet18, resnet34, resnet50, ";
    assert!(error.starts_with(expected), "{error}");

    assert!(Arch::ResNet18.check_image_size(1, 37).is_ok());
    assert!(Arch::DenseNet121.check_image_size(29, 29).is_ok());
    assert!(Arch::DenseNet121.check_image_size(28, 64).is_err());
    assert!(Arch::Vgg16.check_image_size(32, 32).is_ok());
    assert!(Arch::Vgg16.check_image_size(64, 31).is_err());
    assert!(Arch::VitB32.check_image_size(96, 32).is_ok());
    assert!(Arch::VitL16.check_image_size(112, 16).is_ok());
    let error = Arch::VitB32.check_image_size(100, 96).unwrap_err().to_string();
    assert!(error.contains("100x96 px, expected multiples of 32 px"), "{error}");
    // The smallest sizes really work.
    for (arch, size_px) in
        [(Arch::ResNet18, 1), (Arch::DenseNet121, 29), (Arch::Vgg16Bn, 32), (Arch::VitB32, 32)]
    {
        let logits =
            tch::no_grad(|| model(arch, 5).backbone().forward(&images(1, size_px), Mode::Eval));
        assert_eq!(logits.size(), [1, 5], "{arch}");
    }
    assert!(Model::new(Arch::ResNet18, 0, Device::Cpu, &ModelOptions::default()).is_err());
}

#[test]
fn what_is_frozen_normalises_by_its_running_statistics_and_keeps_them() {
    for arch in [Arch::ResNet18, Arch::DenseNet121, Arch::Vgg16Bn] {
        let model = model_by_formula(arch);
        let before: BTreeMap<String, Tensor> =
            model.state_dict().into_iter().map(|(key, value)| (key, value.copy())).collect();
        let body: Vec<String> =
            before.keys().filter(|key| !key.starts_with(arch.head())).cloned().collect();
        sib_core::train::freeze(&model.state_dict(), &body).unwrap();
        let [train, eval] = [Mode::Train, Mode::Eval].map(|mode| {
            let images = images(2, 64).set_requires_grad(true);
            let logits = model.backbone().forward(&images, mode);
            let loss = logits.square().sum(Kind::Float);
            let gradient = Tensor::run_backward(&[loss], &[&images], true, true).remove(0);
            // A derivative of the gradient, as the terms of S-IB take it.
            let weight = &model.state_dict()[&format!("{}.weight", arch.head())];
            let of_weight = gradient.square().sum(Kind::Float);
            let second = Tensor::run_backward(&[of_weight], &[weight], false, false).remove(0);
            [logits, gradient, second].map(|x| x.detach())
        });
        for (train, eval) in train.iter().zip(&eval) {
            let difference = relative_difference(train, eval);
            // The ReLU is a pass of its own in one and not in the other.
            assert!(difference < 1e-6, "{arch}: {difference:e}");
        }
        assert_eq!(model.state_dict(), before, "{arch}");
    }
}
