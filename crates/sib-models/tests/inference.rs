//! The inference form is the network in eval mode: logits, taps, ReLUs, gradients.

mod kinds;

use kinds::KINDS;
use sib_core::testing::{fill_by_formula, formula_tensor, relative_difference, test_device};
use sib_core::{Backbone, Mode, Probe};
use sib_models::{Arch, Model, ModelOptions, Precision};
use tch::{Kind, Tensor};

/// Keeps every map it sees.
#[derive(Default)]
struct Maps(Vec<(String, Tensor)>, usize);

impl Probe for Maps {
    fn relu(&mut self, x: &Tensor) -> Tensor {
        self.1 += 1;
        x.relu()
    }

    fn tap(&mut self, layer: &str, x: Tensor) -> Tensor {
        self.0.push((layer.to_owned(), x.shallow_clone()));
        x
    }
}

/// Logits, gradient of one of them with respect to the images, taps and number of ReLUs.
fn evaluate(net: &dyn Backbone, images: &Tensor) -> (Tensor, Tensor, Maps) {
    let images = images.copy().set_requires_grad(true);
    let mut maps = Maps::default();
    let logits = net.forward_probed(&images, Mode::Eval, &mut maps);
    let target = logits.select(1, 2).sum(logits.kind());
    let gradients = Tensor::f_run_backward(&[target], &[images], false, false).unwrap();
    (logits.detach(), gradients[0].shallow_clone(), maps)
}

#[test]
fn it_is_the_network_in_eval_mode() {
    for arch in KINDS {
        // In double precision only rounding differs. In single precision logits and maps agree to
        // the bound that the networks are held to; gradients flip where a ReLU's sign does.
        for (kind, tolerance, gradient_tolerance) in
            [(Kind::Double, 1e-12, Some(1e-11)), (Kind::Float, 1e-4, None)]
        {
            let mut model = Model::new(arch, 5, test_device(), &ModelOptions::default()).unwrap();
            if kind == Kind::Double {
                model.variables_mut().double();
            }
            fill_by_formula(model.variables_mut());
            let folded = model.inference_form(Precision::F32);
            let images = formula_tensor("images", &[2, 3, 64, 64]).to_kind(kind);
            let images = images.to_device(test_device());

            let (logits, gradient, maps) = evaluate(model.backbone(), &images);
            let (folded_logits, folded_gradient, folded_maps) = evaluate(&*folded, &images);
            let difference = relative_difference(&folded_logits, &logits);
            assert!(difference < tolerance, "{arch} {kind:?}: {difference:e}");
            // What nobody watches may be computed in another way.
            let unwatched = tch::no_grad(|| folded.forward(&images, Mode::Eval));
            let difference = relative_difference(&unwatched, &logits);
            assert!(difference < tolerance, "{arch} {kind:?} unwatched: {difference:e}");
            if let Some(tolerance) = gradient_tolerance {
                let difference = relative_difference(&folded_gradient, &gradient);
                assert!(difference < tolerance, "{arch} {kind:?} gradient: {difference:e}");
            }
            assert_eq!(folded_maps.1, maps.1);
            for ((name, map), (folded_name, folded_map)) in maps.0.iter().zip(&folded_maps.0) {
                assert_eq!(name, folded_name);
                let difference = relative_difference(folded_map, map);
                assert!(difference < tolerance, "{arch} {kind:?} {name}: {difference:e}");
            }
            assert_eq!(folded.cam_layer(), model.backbone().cam_layer());
        }
    }
}

#[test]
fn it_does_not_follow_the_network() {
    let model = Model::new(Arch::ResNet18, 5, test_device(), &ModelOptions::default()).unwrap();
    let images = formula_tensor("images", &[2, 3, 64, 64]).to_kind(Kind::Float);
    let images = images.to_device(test_device());
    tch::no_grad(|| {
        let folded = model.inference_form(Precision::F32);
        let before = folded.forward(&images, Mode::Eval);
        for (_, mut parameter) in model.parameters() {
            let _ = parameter.zero_();
        }
        assert_eq!(folded.forward(&images, Mode::Eval), before);
    });
}

#[test]
fn in_bf16_logits_differ_by_its_rounding() {
    for arch in KINDS {
        let mut model = Model::new(arch, 5, test_device(), &ModelOptions::default()).unwrap();
        fill_by_formula(model.variables_mut());
        let images = formula_tensor("images", &[2, 3, 64, 64]).to_kind(Kind::Float);
        let images = images.to_device(test_device());
        let logits = |precision| {
            tch::no_grad(|| model.inference_form(precision).forward(&images, Mode::Eval))
        };
        let (exact, rounded) = (logits(Precision::F32), logits(Precision::BF16));
        assert_eq!(rounded.kind(), Kind::Float);
        let norm = |x: &Tensor| x.norm().double_value(&[]);
        let difference = norm(&(&rounded - &exact)) / norm(&exact);
        // 2^-9 an operation, over up to 121 layers.
        assert!(difference > 1e-5 && difference < 0.05, "{arch}: {difference}");

        // Neither maps nor gradients are rounded.
        let [exact, rounded] = [Precision::F32, Precision::BF16]
            .map(|precision| evaluate(&*model.inference_form(precision), &images));
        assert_eq!((rounded.0, rounded.1), (exact.0, exact.1), "{arch}");
        assert_eq!(rounded.2.0, exact.2.0, "{arch}");
    }
}
