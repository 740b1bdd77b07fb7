use std::path::Path;

use anyhow::Result;
use sib_core::objective::{MaskOrigin, Preset, SibConfig};
use toml::Table;

use super::*;

fn load(files: &[(&str, &str)], assignments: &[&str]) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let assignments: Vec<String> = assignments.iter().map(ToString::to_string).collect();
    Config::load(&folder.path().join(files[0].0), &assignments)
}

#[test]
fn a_file_changes_what_it_extends_and_set_changes_both() {
    let config = load(
        &[
            ("sib.toml", "extend = 'base.toml'\n[sib]\nevery = 2\n"),
            ("base.toml", "extend = ['a.toml', 'b.toml']\n[train]\nbatch_size = 8\n"),
            ("a.toml", "[train]\nepochs = 5\n[train.optimizer]\nlearning_rate = 1.0\n"),
            ("b.toml", "[train]\nepochs = 7\n"),
        ],
        &["train.batch_size=4", "sib.vjp.scalar=logits"],
    )
    .unwrap();
    assert_eq!((config.train.epochs, config.train.batch_size), (7, 4));
    assert_eq!(config.train.optimizer.learning_rate, 1.0);
    let sib = config.sib.unwrap();
    assert_eq!((sib.every, sib.vjp.scalar), (2, sib_core::objective::Scalar::Logits));
}

#[test]
fn the_reference_lists_every_setting_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/reference.toml");
    let all = Config { sib: Some(SibConfig::default()), ..Config::default() };
    assert_eq!(Config::load(&path, &[]).unwrap(), all);
    let listed: Table = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(listed, toml::from_str(&all.to_toml().unwrap()).unwrap());
}

#[test]
fn a_preset_gives_way_to_what_is_set() {
    let file =
        [("a.toml", "[data]\nname = 'pets'\nroot = '.'\n[sib.gradient_share]\nbackground = 0.1\n")];
    let chosen = load(&file, &["sib.preset=class-maps", "sib.mask.source=annotation"]).unwrap();
    let mut expected = Preset::ClassMaps.config();
    expected.gradient_share.background = 0.1;
    expected.mask.source = MaskOrigin::Annotation;
    assert_eq!(chosen.sib.as_ref(), Some(&expected));
    // The whole of it is written, and read back as it is.
    let again = load(&[("b.toml", &chosen.to_toml().unwrap())], &[]).unwrap();
    assert_eq!(again, chosen);
    let unknown = load(&file, &["sib.preset=best"]).unwrap_err().to_string();
    assert!(unknown.contains("sib.preset") && unknown.contains("class-maps"), "{unknown}");
}

/// 5 datasets, 4 networks, without and with S-IB: `configs/paper/`.
#[test]
fn the_papers_configurations_are_its_settings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/paper");
    let archs = ["resnet18", "resnet50", "densenet121", "vit_b_32"];
    // Batch size and learning rate by network.
    let settings = [
        ("cifar100", [256, 64, 64, 64], [1e-4; 4]),
        ("cub200", [64, 64, 64, 128], [1e-4; 4]),
        ("pets", [32, 64, 64, 128], [1e-4; 4]),
        ("dogs", [128, 97, 64, 256], [1e-4; 4]),
        ("imagenet", [256, 64, 64, 256], [1e-5, 1e-5, 1e-4, 1e-6]),
    ];
    for (data, batch_sizes, learning_rates) in settings {
        for ((arch, batch_size), rate) in archs.into_iter().zip(batch_sizes).zip(learning_rates) {
            let load = |name: String| Config::load(&folder.join(name), &[]).unwrap();
            let baseline = load(format!("{data}-{arch}.toml"));
            let sib = load(format!("{data}-{arch}-sib.toml"));
            assert_eq!(baseline.model.arch.name(), arch);
            assert_eq!(baseline.data.name.as_str(), data);
            assert_eq!(baseline.train.batch_size, batch_size, "{data} {arch}");
            assert_eq!(baseline.train.optimizer.learning_rate, rate, "{data} {arch}");
            assert_eq!((baseline.train.epochs, baseline.train.seed), (90, 43));
            assert_eq!(baseline.data.augment, data == "imagenet");
            assert!(baseline.sib.is_none());
            // Nothing but S-IB differs.
            let terms = sib.sib.clone().unwrap();
            assert_eq!(Config { sib: None, ..sib }, baseline);
            let exception = arch == "vit_b_32" && ["pets", "dogs", "imagenet"].contains(&data);
            let lambdas = (terms.lambda_bg, terms.lambda_fg);
            assert_eq!(lambdas, (1000.0, if exception { 1e-5 } else { 0.01 }));
        }
    }
    let files = std::fs::read_dir(&folder).unwrap();
    let tomls = files.filter(|file| file.as_ref().unwrap().path().extension().is_some());
    assert_eq!(tomls.count(), 40);
}

#[test]
fn the_resolved_configuration_reads_back_unchanged() {
    let config = load(&[("a.toml", "[sib]\n[data]\nlimit_test = 5\n")], &[]).unwrap();
    let again = load(&[("b.toml", &config.to_toml().unwrap())], &[]).unwrap();
    assert_eq!(config, again);
}

#[test]
fn the_papers_exception_for_vit_is_a_default_only() {
    let vit = "[model]\narch = 'vit_b_32'\n[data]\nname = 'pets'\nroot = '.'\n[sib]\n";
    assert_eq!(load(&[("a.toml", vit)], &[]).unwrap().sib.unwrap().lambda_fg, 1e-5);
    let set = load(&[("a.toml", vit)], &["sib.lambda_fg=0.5"]).unwrap();
    assert_eq!(set.sib.unwrap().lambda_fg, 0.5);
}

#[test]
fn dropout_is_torchvision_s_where_it_is_not_set() {
    let dropout = |text: &str, assignments: &[&str]| {
        let options = load(&[("a.toml", text)], assignments).unwrap().model.options;
        (options.dropout, options.attention_dropout)
    };
    let vgg = "[model]\narch = 'vgg16'\n";
    assert_eq!(dropout(vgg, &[]), (0.5, 0.0));
    assert_eq!(dropout(vgg, &["model.options.dropout=0"]), (0.0, 0.0));
    assert_eq!(
        dropout("[model]\narch = 'vgg16_bn'\noptions = { dropout = 0.1 }\n", &[]),
        (0.1, 0.0)
    );
    // What is set is not lost where the architecture comes from the command line.
    assert_eq!(dropout("", &["model.arch=vgg16"]), (0.5, 0.0));
    assert_eq!(dropout("", &[]), (0.0, 0.0));
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = load(&[("a.toml", "[train]\nepoch = 7\n")], &[]).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("unknown field `epoch`"), "{error}");
    let error = load(&[("a.toml", "")], &["train.epoch=7"]).unwrap_err().to_string();
    assert!(error.contains("--set") && error.contains("unknown field `epoch`"), "{error}");
}

#[test]
fn a_value_of_another_kind_is_refused_in_words() {
    for (setting, expected) in [
        ("data.mix=3", "data.mix: expected a string or a table"),
        ("data.mix=mixup", "data.mix.mixup: expected a table"),
        ("data.mix={ mixup = 3 }", "data.mix.mixup: got integer `3`, expected a table"),
        ("data.mix={}", "data.mix: expected one key, got 0 elements"),
        (
            "data.mix={ mixop = { alpha = 1 } }",
            "data.mix: got `mixop`, expected `mixup` or `cut-mix`",
        ),
        ("data.preprocessing=3", "data.preprocessing: got integer `3`, expected a table"),
        ("train.epochs=many", "train.epochs: got string \"many\", expected a whole number"),
        ("train.ema_decay=x", "train.ema_decay: got string \"x\", expected a number"),
        (
            "train.freeze=3",
            "train.freeze: expected \"backbone\", a state-dict prefix or a list of them",
        ),
    ] {
        let message = load(&[("a.toml", "")], &[setting]).unwrap_err().to_string();
        assert!(message.ends_with(&format!("--set: {expected}")), "{message}");
    }
    let message = load(&[("a.toml", "[data]\nmix = 3\n")], &[]).unwrap_err().to_string();
    assert!(
        message.contains("line 2") && message.ends_with("expected a string or a table"),
        "{message}"
    );
}

#[test]
fn one_image_a_batch_is_refused_with_s_ib_only() {
    assert!(load(&[("a.toml", "[train]\nbatch_size = 1\n")], &[]).is_ok());
    let error = load(&[("a.toml", "[train]\nbatch_size = 1\n[sib]\n")], &[]).unwrap_err();
    assert!(error.to_string().starts_with("train.batch_size: got 1, expected at least 2"));
}

proptest::proptest! {
    #[test]
    fn a_damaged_file_is_read_or_refused(
        changes in proptest::collection::vec((0..500_usize, proptest::prelude::any::<u8>()), 0..6),
        end in 0..500_usize,
    ) {
        let config = Config { sib: Some(SibConfig::default()), ..Config::default() };
        let mut bytes = config.to_toml().unwrap().into_bytes();
        for (at, value) in changes {
            bytes[at] = value;
        }
        if end > 250 {
            bytes.truncate(end);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let _ = Config::load(file.path(), &[]);
    }
}
