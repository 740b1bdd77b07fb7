//! First and second derivatives against finite differences, in f64 on a smooth network.

use sib_core::information::Estimator;
use sib_core::objective::{
    At, BackgroundConfig, Channels, Form, HsicConfig, Input, MaskConfig, MaskKind, MaskOrigin,
    Measure, Normalise, RowNormalise, Scalar, SibConfig, Terms, Variance, VjpConfig, cross_entropy,
};
use sib_core::testing::{formula_tensor, relative_difference};
use sib_core::{Backbone, Mode, Probe, tensor::scalar};
use tch::{Kind, Tensor};

use crate::nets::{SmoothNet, Weights};

pub(crate) const CLASSES: i64 = 4;

pub(crate) fn batch() -> (Tensor, Tensor) {
    (formula_tensor("images", &[6, 3, 20, 20]), Tensor::from_slice(&[0i64, 3, 1, 2, 1, 0]))
}

fn direction(net: &SmoothNet) -> Weights {
    let by_formula = |(name, w): (&String, &Tensor)| {
        (name.clone(), formula_tensor(&format!("u.{name}"), &w.size()))
    };
    net.0.iter().map(by_formula).collect()
}

pub(crate) fn terms(config: &SibConfig, net: &SmoothNet) -> Terms {
    let (images, labels) = batch();
    let forward =
        |images: &Tensor, probe: &mut dyn Probe| net.forward_probed(images, Mode::Train, probe);
    let foreground = foreground();
    let input = Input { images: &images, foreground: Some(&foreground) };
    config.terms(input, forward, |logits| cross_entropy(logits, &labels, 0.0)).unwrap()
}

/// Where the objects of [`batch`] are: `[6,20,20]`, bool.
pub(crate) fn foreground() -> Tensor {
    formula_tensor("foreground", &[6, 20, 20]).gt(0.0)
}

/// `Σ ∂loss/∂w · u` over all weights.
fn directional_derivative(net: &SmoothNet, loss: &Tensor, u: &Weights) -> f64 {
    let parameters: Vec<&Tensor> = net.0.values().collect();
    let gradients = Tensor::run_backward(&[loss], &parameters, true, false);
    let used = gradients.iter().zip(u.values()).filter(|(g, _)| g.defined());
    used.map(|(g, u)| scalar(&(g * u).sum(None::<Kind>))).sum()
}

/// Every choice of each setting, all else as in the paper.
fn variants() -> Vec<(&'static str, SibConfig)> {
    let paper = SibConfig::default;
    let vjp = |vjp| SibConfig { vjp, ..paper() };
    let mask = |mask| SibConfig { mask, ..paper() };
    let hsic = |hsic| SibConfig { hsic, ..paper() };
    let background = |background| SibConfig { background, ..paper() };
    let at_layer = || VjpConfig { at: At::Layer("1".to_owned()), ..VjpConfig::default() };
    let annotated = || MaskConfig { source: MaskOrigin::Annotation, ..MaskConfig::default() };
    vec![
        ("paper", paper()),
        ("annotation", mask(annotated())),
        (
            "annotation at a layer of images",
            SibConfig { images: Some(3), scale: 0.8, vjp: at_layer(), ..mask(annotated()) },
        ),
        ("shuffled annotation", mask(MaskConfig { shuffled: true, ..annotated() })),
        ("exponential", SibConfig { form: Form::Exponential, ..paper() }),
        ("rms", vjp(VjpConfig { normalise: Normalise::Rms, ..VjpConfig::default() })),
        ("temperature", vjp(VjpConfig { temperature: 2.0, ..VjpConfig::default() })),
        (
            "magnitudes",
            mask(MaskConfig { channels: Channels::Magnitudes, ..MaskConfig::default() }),
        ),
        ("max-norm", mask(MaskConfig { kind: MaskKind::MaxNorm, ..MaskConfig::default() })),
        ("raw rows", hsic(HsicConfig { normalise: RowNormalise::None, ..HsicConfig::default() })),
        ("unbiased", hsic(HsicConfig { estimator: Estimator::Unbiased, ..HsicConfig::default() })),
        ("cka", hsic(HsicConfig { estimator: Estimator::Cka, ..HsicConfig::default() })),
        ("projection", hsic(HsicConfig { projection: Some(64), ..HsicConfig::default() })),
        ("batch variance", background(BackgroundConfig { variance: Variance::Batch, sigma: None })),
        ("at a layer", vjp(at_layer())),
        (
            "contributions",
            vjp(VjpConfig { measure: Measure::Contribution, ..VjpConfig::default() }),
        ),
        (
            "contributions at a map that is averaged",
            vjp(VjpConfig {
                measure: Measure::Contribution,
                at: At::Layer("3".to_owned()),
                ..VjpConfig::default()
            }),
        ),
        (
            "contributions at a layer",
            vjp(VjpConfig {
                measure: Measure::Contribution,
                normalise: Normalise::Rms,
                ..at_layer()
            }),
        ),
        ("images", SibConfig { images: Some(3), ..paper() }),
        ("scale", SibConfig { scale: 0.6, ..paper() }),
        (
            "at a layer of images",
            SibConfig { images: Some(2), scale: 0.8, vjp: at_layer(), ..paper() },
        ),
        ("sigma", background(BackgroundConfig { variance: Variance::PerImage, sigma: Some(0.1) })),
    ]
}

#[test]
fn the_vjp_is_the_derivative_of_half_the_squared_posterior() {
    let net = SmoothNet::new(CLASSES);
    let (images, _) = batch();
    let u = formula_tensor("direction", &images.size());
    for temperature in [1.0, 0.5] {
        let config = VjpConfig { temperature, ..VjpConfig::default() };
        let phi = |images: &Tensor| {
            let p = config.posterior(&net.forward(images, Mode::Eval));
            scalar(&((&p * &p).sum(None::<Kind>) * 0.5))
        };
        let leaf = images.detach().set_requires_grad(true);
        let r = config.vjp(&leaf, &net.forward(&leaf, Mode::Eval), false).unwrap();
        let h = 1e-5;
        let finite = (phi(&(&images + &u * h)) - phi(&(&images - &u * h))) / (2.0 * h);
        let exact = scalar(&(r * &u).sum(None::<Kind>));
        // Central differences: h² truncation and 1e-16/h rounding.
        assert!((exact / finite - 1.0).abs() < 1e-6, "{exact:e} {finite:e}");
    }
}

#[test]
fn the_gradient_of_each_term_of_each_variant_equals_finite_differences() {
    type Pick = fn(&SibConfig, &Terms) -> Tensor;
    let picks: [(&str, Pick); 4] = [
        ("cross-entropy", |_, t| t.cross_entropy.shallow_clone()),
        ("foreground", |_, t| t.foreground.shallow_clone()),
        ("background", |_, t| t.background.shallow_clone()),
        ("total", |c, t| c.total(t)),
    ];
    let net = SmoothNet::new(CLASSES);
    let u = direction(&net);
    // On the way no two places of a mask head's order change, where the derivative jumps.
    let h = 3e-7;
    for (variant, config) in variants() {
        let (here, ahead, behind) = (
            terms(&config, &net),
            terms(&config, &net.moved(&u, h)),
            terms(&config, &net.moved(&u, -h)),
        );
        for (term, pick) in picks {
            let value = |terms: &Terms| scalar(&pick(&config, terms));
            let finite = (value(&ahead) - value(&behind)) / (2.0 * h);
            let exact = directional_derivative(&net, &pick(&config, &here), &u);
            // Truncation and rounding of central differences meet at about 1e-8 here.
            assert!(
                (exact - finite).abs() <= 1e-5 * finite.abs().max(1e-14),
                "{variant}, {term}: {exact:e} {finite:e}"
            );
        }
    }
}

#[test]
fn what_is_detached_has_no_derivative() {
    // The vector p̄ of these two scalars is constant: finite differences hold it at the unmoved
    // network's.
    let net = SmoothNet::new(CLASSES);
    let (images, _) = batch();
    let u = direction(&net);
    let energy = |r: &Tensor| (r * r).sum(None::<Kind>);
    for kind in [Scalar::PosteriorDetached, Scalar::Logits] {
        let config = VjpConfig { scalar: kind, ..VjpConfig::default() };
        let leaf = images.detach().set_requires_grad(true);
        let logits = net.forward(&leaf, Mode::Eval);
        let p_bar = config.posterior(&logits).detach();
        let r = config.vjp(&leaf, &logits, true).unwrap();
        let exact = directional_derivative(&net, &energy(&r), &u);
        let moved = |step: f64| {
            let leaf = images.detach().set_requires_grad(true);
            let logits = net.moved(&u, step).forward(&leaf, Mode::Eval);
            let decoded = if kind == Scalar::Logits { logits } else { config.posterior(&logits) };
            let product = (&p_bar * decoded).sum(None::<Kind>);
            scalar(&energy(&Tensor::run_backward(&[product], &[leaf], false, false)[0]))
        };
        let h = 1e-6;
        let finite = (moved(h) - moved(-h)) / (2.0 * h);
        assert!((exact / finite - 1.0).abs() < 1e-6, "{kind:?}: {exact:e} {finite:e}");
    }
}

#[test]
fn the_direction_of_the_vjp_survives_f32_where_the_network_is_sure() {
    // Logits that are pixels: R is the derivative with respect to them. The winning one is so far
    // ahead that 1 - p is below the precision of f32.
    let r = |kind: Kind| {
        let images =
            Tensor::from_slice(&[21.0, 1.0, 0.5, 0.25]).to_kind(kind).reshape([1, 1, 2, 2]);
        let images = images.set_requires_grad(true);
        VjpConfig::default().vjp(&images, &images.flatten(1, -1), false).unwrap()
    };
    let (single, double) = (r(Kind::Float).to_kind(Kind::Double), r(Kind::Double));
    let difference = relative_difference(&single, &double);
    assert!(difference < 1e-6, "{difference:e}");
}

#[test]
fn the_derivative_through_the_vector_is_part_of_the_default() {
    let net = SmoothNet::new(CLASSES);
    let images = batch().0.set_requires_grad(true);
    let logits = net.forward(&images, Mode::Eval);
    let u = direction(&net);
    let [with, without] = [Scalar::Posterior, Scalar::PosteriorDetached].map(|scalar| {
        let config = VjpConfig { scalar, ..VjpConfig::default() };
        let r = config.vjp(&images, &logits, true).unwrap();
        directional_derivative(&net, &(&r * &r).sum(None::<Kind>), &u)
    });
    assert!((with / without - 1.0).abs() > 1e-3, "{with:e} {without:e}");
}

#[test]
fn the_directional_oracle_agrees() {
    // With v = ∂L_IB/∂R at R as a leaf: ∇_w L_IB = d/dε ∇_w φ(x + εv), φ = Σ ½‖p‖².
    let net = SmoothNet::new(CLASSES);
    let config = SibConfig::default();
    let (images, _) = batch();
    let parameters: Vec<&Tensor> = net.0.values().collect();
    let flat = |gradients: Vec<Tensor>| {
        Tensor::cat(&gradients.iter().map(|g| g.flatten(0, -1)).collect::<Vec<_>>(), 0)
    };

    let here = terms(&config, &net);
    let loss = config.information_bottleneck(&here, &config.lambdas());
    let exact = flat(Tensor::run_backward(&[loss], &parameters, true, false));

    let r = here.vjp.detach().set_requires_grad(true);
    let mask = config.mask.apply(&r).unwrap().mask;
    let hsic = config.hsic.hsic(&(&r * &mask), &(&images * &mask)).unwrap();
    let variance = config.background.variance(&(&r * (1.0 - &mask)));
    let loss = variance * config.lambda_bg - hsic * config.lambda_fg;
    let v = &Tensor::run_backward(&[loss], &[r], false, false)[0];

    let gradient_of_phi = |images: Tensor| {
        let p = config.vjp.posterior(&net.forward(&images, Mode::Train));
        let phi = (&p * &p).sum(None::<Kind>) * 0.5;
        flat(Tensor::run_backward(&[phi], &parameters, false, false))
    };
    let step = 1e-4 / scalar(&v.abs().max());
    let finite =
        (gradient_of_phi(&images + v * step) - gradient_of_phi(&images - v * step)) / (2.0 * step);
    let cosine = scalar(&exact.dot(&finite)) / scalar(&(exact.norm() * finite.norm()));
    assert!(cosine > 0.999_999, "{cosine}");
    let ratio = scalar(&(exact.norm() / finite.norm()));
    assert!((ratio - 1.0).abs() < 1e-5, "{ratio}");
}

#[test]
fn the_split_of_r_loses_nothing() {
    let here = terms(&SibConfig::default(), &SmoothNet::new(CLASSES));
    let (r, m) = (&here.vjp, &here.mask);
    let sum = r * m + r * (1.0 - m);
    let difference: Tensor = sum - r;
    assert!(scalar(&difference.abs().max()) <= 1e-15 * scalar(&r.abs().max()));
}

#[test]
fn what_the_terms_cannot_be_computed_on_is_refused() {
    let net = SmoothNet::new(CLASSES);
    let refused = |config: SibConfig| {
        let forward = |x: &Tensor, probe: &mut dyn Probe| net.forward_probed(x, Mode::Train, probe);
        config.terms(&batch().0, forward, |z| z.mean(None)).unwrap_err().to_string()
    };
    let at = |name: &str| VjpConfig { at: At::Layer(name.to_owned()), ..VjpConfig::default() };
    assert_eq!(
        refused(SibConfig { vjp: at("2"), ..SibConfig::default() }),
        "vjp.at: got 2, expected image or one of 1, 3"
    );
    let averaged = refused(SibConfig { vjp: at("3"), ..SibConfig::default() });
    assert!(
        averaged.starts_with("vjp.at: got 3, expected a feature map that is not"),
        "{averaged}"
    );
    assert_eq!(
        refused(SibConfig { images: Some(4), ..SibConfig::default() }),
        "images: got 4, expected a divisor of the 6 images of a batch"
    );
    assert_eq!(
        refused(SibConfig { images: Some(1), ..SibConfig::default() }),
        "images: got 1, expected at least 2: the foreground term compares the images of a batch"
    );
    let message = SibConfig { scale: 1.5, ..SibConfig::default() }.validate().unwrap_err();
    assert_eq!(message.to_string(), "scale: got 1.5, expected a number in (0, 1]");
}

#[test]
fn a_single_image_is_refused() {
    let net = SmoothNet::new(CLASSES);
    let error = SibConfig::default()
        .terms(&batch().0.narrow(0, 0, 1), |x, _| net.forward(x, Mode::Train), |z| z.mean(None))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "batch size: got 1, expected at least 2: the foreground term compares the images of a batch"
    );
}
