//! Networks in files of weights: what fits is loaded and what was done is said; another architecture, and
//! numbers that would spoil a network, are refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sib_core::checkpoint::write_tensors;
use sib_core::testing::shared_path;
use sib_models::{Arch, Model, ModelOptions, Selection};
use tch::{Device, Kind, Tensor};

fn model(arch: Arch, num_classes: i64) -> Model {
    Model::new(arch, num_classes, Device::Cpu, &ModelOptions::default()).unwrap()
}

fn write(path: &Path, state: &BTreeMap<String, Tensor>) {
    write_tensors(path, state, &BTreeMap::new()).unwrap();
}

#[test]
fn another_class_count_keeps_the_new_head_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("five.safetensors");
    let (five, three) = (model(Arch::ResNet18, 5), model(Arch::ResNet18, 3));
    write(&path, &five.state_dict());
    let head = three.state_dict()["fc.weight"].copy();

    let report = three.load_weights(&path).unwrap();
    let (ours, theirs) = (three.state_dict(), five.state_dict());
    assert_eq!((report.loaded, report.missing.len(), report.unexpected.len()), (120, 0, 0));
    let replaced: Vec<_> = report.replaced.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(replaced, ["fc.bias", "fc.weight"]);
    assert!(report.to_string().contains("newly initialised: fc.weight [5, 512] -> [3, 512]"));
    assert!(ours["fc.weight"].equal(&head));
    for (name, tensor) in ours.iter().filter(|(name, _)| !name.starts_with("fc.")) {
        assert!(tensor.equal(&theirs[name]), "{name}");
    }

    let (imported, report) =
        Model::import(&path, Arch::ResNet18, None, Device::Cpu, &ModelOptions::default()).unwrap();
    assert_eq!(imported.num_classes(), 5);
    assert!(report.is_exact(), "{report}");
}

#[test]
fn old_files_without_batch_counters_are_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.safetensors");
    let source = model(Arch::ResNet18, 5);
    let mut state = source.state_dict();
    state.retain(|name, _| !name.ends_with("num_batches_tracked"));
    state.insert("criterion.weight".to_owned(), Tensor::ones(3, (Kind::Float, Device::Cpu)));
    write(&path, &state);
    let report = source.load_weights(&path).unwrap();
    assert_eq!((report.loaded, report.counters_reset), (122, 20));
    assert_eq!(report.unexpected, ["criterion.weight"]);
}

#[test]
fn batch_counters_of_any_kind_are_counters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cast.safetensors");
    let source = model(Arch::ResNet18, 3);
    let with_counters = |counter: Tensor| {
        let mut state = source.state_dict();
        for (name, value) in &mut state {
            let is_counter = name.ends_with("num_batches_tracked");
            *value = if is_counter { counter.copy() } else { value.to_kind(Kind::Half) };
        }
        write(&path, &state);
        let target = model(Arch::ResNet18, 3);
        let report = target.load_weights(&path).map_err(|error| error.to_string())?;
        let counter = target.state_dict()["layer3.0.bn2.num_batches_tracked"].shallow_clone();
        assert_eq!((counter.kind(), counter.size()), (Kind::Int64, vec![]));
        Ok::<_, String>((counter.int64_value(&[]), report.counters_reset))
    };
    for kind in [Kind::Half, Kind::BFloat16, Kind::Float, Kind::Double, Kind::Int, Kind::Int16] {
        assert_eq!(with_counters(Tensor::from(96.0).to_kind(kind)), Ok((96, 0)), "{kind:?}");
    }
    assert_eq!(with_counters(Tensor::from_slice(&[7i64])), Ok((7, 0)));
    // 100 000 batches are beyond f16.
    assert_eq!(with_counters(Tensor::from(1e5).to_kind(Kind::Half)), Ok((0, 20)));
    for broken in [0.5, -1.0, f64::NAN] {
        let problem = with_counters(Tensor::from(broken)).unwrap_err();
        assert!(problem.contains("num_batches_tracked\" holds"), "{problem}");
    }
}

/// What must not be taken for a weight: whatever is not finite in f32, whole numbers, variances below zero.
#[test]
fn weights_that_would_spoil_a_network_are_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    for arch in [Arch::ResNet18, Arch::DenseNet121] {
        let source = model(arch, 3);
        let names: Vec<_> = source.state_dict().into_keys().collect();
        let last_norm = names.iter().rfind(|name| name.ends_with("running_var")).unwrap();
        let of_norm = |part: &str| last_norm.replace("running_var", part);
        let head = format!("{}.bias", arch.head());
        for (name, value, kind, problem) in [
            (of_norm("weight"), f64::NAN, Kind::Float, "values of"),
            (of_norm("running_mean"), f64::INFINITY, Kind::Float, "values of"),
            (of_norm("running_var"), f64::NAN, Kind::BFloat16, "values of"),
            (head.clone(), f64::NEG_INFINITY, Kind::Half, "3 of 3 values of"),
            (head.clone(), 1e5, Kind::Half, "3 of 3 values of"),
            (head.clone(), 1e300, Kind::Double, "3 of 3 values of"),
            (of_norm("running_var"), -0.5, Kind::Float, "holds -0.5, expected variances"),
            (head.clone(), 3.0, Kind::Int8, "holds Int8 numbers, expected floats"),
            (head.clone(), 1.0, Kind::Bool, "holds Bool numbers, expected floats"),
        ] {
            let mut state = source.state_dict();
            let broken = state[&name].to_kind(Kind::Double).full_like(value).to_kind(kind);
            state.insert(name.clone(), broken);
            write(&path, &state);
            let target = model(arch, 3);
            let before = target.state_dict()[&head].copy();
            let message = target.load_weights(&path).unwrap_err().to_string();
            assert!(
                message.contains(problem) && message.contains(&format!("{name:?}")),
                "{message}"
            );
            assert!(
                message.contains("weights.safetensors: ") && !message.contains('\n'),
                "{message}"
            );
            assert!(target.state_dict()[&head].equal(&before), "nothing is changed");
            let imported = Model::import(&path, arch, None, Device::Cpu, &ModelOptions::default());
            assert_eq!(imported.unwrap_err().to_string(), message);
        }
        // What rounding leaves of the variance of a constant channel.
        let mut state = source.state_dict();
        let zero = state[last_norm].full_like(0.0);
        let _ = zero.get(0).fill_(-1e-9);
        state.insert(last_norm.clone(), zero);
        write(&path, &state);
        assert!(model(arch, 3).load_weights(&path).unwrap().is_exact());
    }
}

#[test]
fn a_network_is_found_below_a_prefix_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let source = model(Arch::DenseNet121, 3);
    let under = |prefix: &'static str| {
        source.state_dict().into_iter().map(move |(name, x)| (format!("{prefix}{name}"), x))
    };
    let mut state: BTreeMap<_, _> = under("module.").collect();
    state.insert("n_averaged".to_owned(), Tensor::from(7_i64));
    write(&path, &state);
    let import = |selection: &Selection| {
        let options = ModelOptions::default();
        Model::import_selected(&path, selection, Arch::DenseNet121, None, Device::Cpu, &options)
    };
    let (imported, report) = import(&Selection::default()).unwrap();
    assert_eq!(
        (report.taken.as_str(), &report.unexpected[..]),
        ("module", &["n_averaged".to_owned()][..])
    );
    assert!(
        report.to_string().contains("loaded from \"module\"; unexpected: n_averaged"),
        "{report}"
    );
    let weight = "features.denseblock4.denselayer16.conv2.weight";
    assert!(imported.state_dict()[weight].equal(&source.state_dict()[weight]));

    // Two networks, of which neither is the one.
    let mut state: BTreeMap<_, _> = under("student.").collect();
    state.extend(
        under("teacher.").map(|(name, x)| (name, if x.is_floating_point() { x * 2 } else { x })),
    );
    write(&path, &state);
    let message = import(&Selection::default()).unwrap_err().to_string();
    assert!(message.contains(r#"["student", "teacher"]"#), "{message}");
    let teacher = Selection { key: Some("teacher".to_owned()), ..Selection::default() };
    let (imported, report) = import(&teacher).unwrap();
    assert!(imported.state_dict()[weight].equal(&(&source.state_dict()[weight] * 2)));
    assert!(report.to_string().ends_with("and 707 more"), "{report}");
}

#[test]
fn parts_of_another_architecture_are_refused_wherever_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let load = |arch: Arch, extra: &[&str], without: &[&str], selection: &Selection| {
        let mut state = model(arch, 2).state_dict();
        let one = || Tensor::ones([1], (Kind::Float, Device::Cpu));
        state.extend(extra.iter().map(|name| ((*name).to_owned(), one())));
        state.retain(|name, _| !without.contains(&name.as_str()));
        write(&path, &state);
        model(arch, 2).load_selected(&path, selection).map_err(|error| error.to_string())
    };
    let all = Selection::default();
    for (arch, extra, without, problem) in [
        // SE, bias, BlurPool, deep stem, a fifth stage, an attention after the stem's pooling.
        (
            Arch::ResNet18,
            &["layer1.0.se.fc1.weight", "layer1.0.se.fc2.bias"][..],
            &[][..],
            "lacks, and 1 more",
        ),
        (Arch::ResNet50, &["layer1.0.conv1.bias"], &[], "a part that resnet50 lacks"),
        (Arch::ResNet50, &["layer2.0.downsample.2.weight"], &[], "a part that resnet50 lacks"),
        (Arch::ResNet50, &["conv1.0.weight"], &["conv1.weight"], "lacks 1 of its tensors"),
        (Arch::ResNet18, &["conv1.0.weight"], &[], "a part that resnet18 lacks"),
        (Arch::ResNet18, &["layer5.0.conv1.weight"], &[], "a part that resnet18 lacks"),
        (Arch::ResNet18, &["bn2.weight"], &[], "a part that resnet18 lacks"),
        (Arch::ResNet18, &["fc.0.weight"], &[], "a part that resnet18 lacks"),
        (Arch::ResNet18, &["maxpool.0.weight"], &[], "which may be part of the logits"),
        (Arch::ResNet18, &["bnneck.weight"], &[], "which may be part of the logits"),
        (Arch::DenseNet121, &["features.pool0.filt"], &[], "a part that densenet121 lacks"),
        (Arch::DenseNet121, &["features.denseblock5.denselayer1.norm1.weight"], &[], "lacks"),
        // LayerScale, normalised queries, a distillation token, CLIP's first normalisation.
        (
            Arch::VitB32,
            &["blocks.0.ls1.gamma"],
            &[],
            "layer_0.ls1.gamma\", a part that vit_b_32 lacks",
        ),
        (Arch::VitB32, &["blocks.11.attn.q_norm.weight"], &[], "a part that vit_b_32 lacks"),
        (Arch::VitB32, &["dist_token"], &[], "\"dist_token\", for which vit_b_32 has no place"),
        (Arch::VitB32, &["head_dist.weight"], &[], "\"head_dist.weight\", for which"),
        (Arch::VitB32, &["norm_pre.weight"], &[], "which may be part of the logits"),
        // A weight in two parts.
        (
            Arch::ResNet18,
            &["conv1.parametrizations.weight.original0"],
            &["conv1.weight"],
            "remove_parametrizations",
        ),
        (Arch::ResNet18, &["fc.weight_g", "fc.weight_v"], &["fc.weight"], "remove_weight_norm"),
        (
            Arch::ResNet18,
            &["layer1.0.conv1.weight_orig"],
            &["layer1.0.conv1.weight"],
            "prune.remove",
        ),
    ] {
        let message = load(arch, extra, without, &all).expect_err(extra[0]);
        assert!(message.contains(problem), "{message}");
        assert!(!message.contains("it may be"), "nothing fits: {message}");
    }
    for (arch, extra) in [
        (Arch::ResNet18, "criterion.weight"),
        (Arch::ResNet50, "aux_head.0.weight"),
        (Arch::DenseNet121, "loss_fn.centers"),
        (Arch::VitB32, "ema.decay"),
    ] {
        let report = load(arch, &[extra], &[], &all).unwrap();
        assert_eq!(report.unexpected, [extra]);
    }
    let ignoring = Selection { ignore: vec!["bnneck".to_owned()], ..Selection::default() };
    let report = load(Arch::ResNet18, &["bnneck.weight"], &[], &ignoring).unwrap();
    assert_eq!(report.unexpected, ["bnneck.weight"]);
    // What lies within the network is never left out.
    let ignoring = Selection { ignore: vec!["layer1".to_owned()], ..Selection::default() };
    assert!(load(Arch::ResNet18, &["layer1.0.se.fc1.weight"], &[], &ignoring).is_err());
    // A head of another form than the network's says nothing about the rest.
    let report =
        load(Arch::ResNet18, &["fc.1.weight", "fc.1.bias"], &["fc.weight", "fc.bias"], &all);
    assert_eq!(report.unwrap().missing, ["fc.bias", "fc.weight"]);
}

#[test]
fn other_architectures_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let refused = |arch: Arch, state: &BTreeMap<String, Tensor>| {
        write(&path, state);
        let target = model(arch, 2);
        let before = target.state_dict()["bn1.weight"].copy();
        let message = target.load_weights(&path).unwrap_err().to_string();
        assert!(target.state_dict()["bn1.weight"].equal(&before));
        message
    };
    let small = model(Arch::ResNet18, 2).state_dict();
    let large = model(Arch::ResNet50, 2).state_dict();
    let message = refused(Arch::ResNet18, &large);
    assert!(message.contains("\"fc.weight\" has shape [2, 2048]"), "{message}");
    assert!(message.contains("not resnet18") && message.contains("may be resnet50"), "{message}");
    let message = refused(Arch::ResNet50, &small);
    assert!(message.contains("not resnet50") && message.contains("may be resnet18"), "{message}");

    // ResNet-34 has every tensor of ResNet-18, and more blocks.
    let mut deeper = model(Arch::ResNet18, 2).state_dict();
    deeper.insert("layer1.2.conv1.weight".to_owned(), small["layer1.1.conv1.weight"].copy());
    let message = refused(Arch::ResNet18, &deeper);
    assert!(message.contains("\"layer1.2.conv1.weight\", a part that resnet18 lacks"), "{message}");

    let mut gap = model(Arch::ResNet18, 2).state_dict();
    gap.remove("layer2.0.bn1.weight");
    let message = refused(Arch::ResNet18, &gap);
    assert!(message.contains("lacks 1 of its tensors"), "{message}");

    let other = BTreeMap::from([("weight".to_owned(), Tensor::from(1.0))]);
    let message = refused(Arch::ResNet18, &other);
    assert!(
        message.contains(r#"none of its 122 tensors is there; the first keys are ["weight"]"#),
        "{message}"
    );

    // Keys of DenseNet under a prefix; the head is named differently, and all of it is looked at.
    let dense = model(Arch::DenseNet121, 2).state_dict();
    let dense = dense.into_iter().map(|(name, x)| (format!("model.{name}"), x)).collect();
    let message = refused(Arch::ResNet50, &dense);
    assert!(message.contains("(it may be densenet121)"), "{message}");
}

/// A real file: torchvision's ResNet-18 with 200 classes, floats stored as f16.
#[test]
fn a_trained_resnet18_is_imported_whole() {
    let path = "weights/resnet18-tiny-imagenet200.pth";
    let Some(path): Option<PathBuf> = shared_path(path) else { return };
    let (model, report) =
        Model::import(&path, Arch::ResNet18, None, Device::Cpu, &ModelOptions::default()).unwrap();
    assert_eq!(model.num_classes(), 200);
    assert!(report.is_exact(), "{report}");
    for (name, tensor) in model.state_dict() {
        assert!(bool::try_from(tensor.isfinite().all()).unwrap(), "{name}");
    }
}
