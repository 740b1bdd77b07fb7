//! The S-IB map of networks that are sure of themselves: f32 against f64, and where there is no map
//! (decisions C3 and N7).

use sib_core::objective::{MaskConfig, VjpConfig, unit_scale};
use sib_core::testing::{fill_by_formula, formula_tensor, test_device};
use sib_core::{Error, Mode};
use sib_explain::{Method, MethodOptions, SIbMap, SIbMaps, Target};
use sib_models::{Arch, Model, ModelOptions};
use tch::{Kind, Tensor};

use crate::toys::Toy;

const SIZE_PX: i64 = 64;

/// A network by formula whose logits are `factor` times as large.
fn network(arch: Arch, factor: f64, kind: Kind) -> Model {
    let mut model = Model::new(arch, 10, test_device(), &ModelOptions::default()).unwrap();
    model.variables_mut().double();
    fill_by_formula(model.variables_mut());
    for (name, weight) in model.parameters() {
        if name.starts_with(arch.head()) {
            let _ = tch::no_grad(|| weight.shallow_clone().g_mul_scalar_(factor));
        }
    }
    if kind == Kind::Float {
        model.variables_mut().float();
    }
    model
}

fn image(kind: Kind) -> Tensor {
    formula_tensor("direction", &[1, 3, SIZE_PX, SIZE_PX]).to(test_device()).to_kind(kind)
}

fn maps(model: &Model, image: &Tensor) -> SIbMaps {
    let map = SIbMap { vjp: VjpConfig::default(), mask: MaskConfig::default(), batch_size: 2 };
    map.maps(model.backbone(), image).unwrap()
}

/// Pearson's correlation.
fn correlation(a: &Tensor, b: &Tensor) -> f64 {
    let [a, b] = [a, b].map(|x| {
        let x = x.to_kind(Kind::Double).flatten(0, -1);
        &x - x.mean(None::<Kind>)
    });
    (a.dot(&b) / (a.norm() * b.norm())).double_value(&[])
}

fn ranks(map: &Tensor) -> Tensor {
    map.flatten(0, -1).argsort(0, false).argsort(0, false)
}

#[test]
fn maps_of_f32_are_those_of_f64_down_to_the_bound() {
    for arch in [Arch::ResNet18, Arch::ResNet50, Arch::DenseNet121, Arch::VitB32] {
        let plain = network(arch, 1.0, Kind::Double);
        let logits = plain.backbone().forward(&image(Kind::Double), Mode::Eval);
        let two: Vec<f64> = logits.topk(2, -1, true, true).0.get(0).try_into().unwrap();
        for doubt in [1e-3f64, 1e-9, 1e-15, 1e-22, 1e-29] {
            let factor = -doubt.ln() / (two[0] - two[1]);
            let exact = maps(&network(arch, factor, Kind::Double), &image(Kind::Double));
            let single = maps(&network(arch, factor, Kind::Float), &image(Kind::Float));
            for maps in [&exact, &single] {
                assert!(bool::try_from(&maps.directed).unwrap(), "{arch} {doubt:e}");
            }
            let (a, b) = (unit_scale(&single.vjp), unit_scale(&exact.vjp));
            let [a, b] = [a, b].map(|r| r.to_kind(Kind::Double).flatten(0, -1));
            let cosine = (a.dot(&b) / (a.norm() * b.norm())).double_value(&[]);
            let order = correlation(&ranks(&single.density), &ranks(&exact.density));
            println!("{arch} 1 - p = {doubt:e}: cosine {cosine:.7}, rank correlation {order:.6}");
            // Single units lie on the other side of their ReLU in f32.
            assert!(cosine > 0.999 && order > 0.99, "{arch} {doubt:e}: {cosine} {order}");
        }
        let saturated = maps(&network(arch, 1e4, Kind::Float), &image(Kind::Float));
        assert!(!bool::try_from(&saturated.directed).unwrap(), "{arch}");
        for map in [&saturated.density, &saturated.mask] {
            assert_eq!(map.abs().max().double_value(&[]), 0.0, "{arch}");
        }
    }
}

/// Three classes of which the first leads by `1e9·x` at the first pixel of the image.
const STEEP: Toy = Toy(|x, _| {
    let lead = x.select(3, 0).select(2, 0).select(1, 0) * 1e9;
    let rest = x.flatten(1, -1).narrow(1, 1, 2);
    Tensor::cat(&[&lead.unsqueeze(1), &rest], 1)
});

#[test]
fn an_image_without_direction_is_flat_beside_one_with() {
    let x = formula_tensor("images", &[3, 3, 12, 12]);
    for (image, first) in [(0, 1.0), (1, 0.0), (2, 1.0)] {
        let _ = x.get(image).get(0).get(0).get(0).fill_(first);
    }
    let targets = Tensor::from_slice(&[0i64, 0, 0]);
    for kind in [Kind::Double, Kind::Float] {
        let explainer = Method::SIbMap.build(&MethodOptions::default()).unwrap();
        let maps = explainer.explain(&STEEP, &x.to_kind(kind), &Target::class(&targets)).unwrap();
        let range =
            |i: i64| maps.get(i).max().double_value(&[]) - maps.get(i).min().double_value(&[]);
        assert_eq!([range(0), range(2)], [0.0; 2], "{kind:?}");
        assert!(range(1) > 0.1, "{kind:?}");
    }
}

#[test]
fn one_class_is_refused_by_what_needs_its_posterior() {
    const ONE: Toy = Toy(|x, probe| {
        let a = probe.tap("features", x.shallow_clone());
        a.mean_dim([1, 2, 3].as_slice(), false, None::<Kind>).unsqueeze(1)
    });
    let x = formula_tensor("images", &[1, 3, 12, 12]);
    let targets = Tensor::from_slice(&[0i64]);
    let explain = |method: Method, option: &str| {
        let mut options = MethodOptions::default();
        options.set(option).unwrap();
        method.build(&options).unwrap().explain(&ONE, &x, &Target::class(&targets))
    };
    for (method, posterior, logit) in [
        (Method::SIbMap, "s-ib-map.vjp.scalar=posterior", "s-ib-map.vjp.scalar=logits"),
        (Method::ScoreCam, "score-cam.weights=probability", "score-cam.weights=softmax-logit"),
    ] {
        let error = explain(method, posterior).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{method}: {error}");
        assert!(error.to_string().starts_with("classes: got 1, expected at least 2: "), "{error}");
        assert!(explain(method, logit).is_ok(), "{method}");
    }
    for method in [Method::Saliency, Method::GradCam, Method::IntegratedGradients] {
        assert!(explain(method, "batch_size=4").is_ok(), "{method}");
    }
}
