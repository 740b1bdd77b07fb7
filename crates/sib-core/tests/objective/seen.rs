//! What the terms see: contributions in place of R, and masks from elsewhere than R of the terms.

use sib_core::objective::{
    At, MaskAt, MaskConfig, MaskOrigin, Measure, Normalise, SibConfig, VjpConfig,
};
use sib_core::testing::relative_difference;
use sib_core::{Backbone, Mode, Probe, tensor::scalar};
use tch::{Kind, Tensor};

use crate::derivatives::{CLASSES, batch, foreground, terms};
use crate::nets::SmoothNet;

#[test]
fn an_annotated_mask_is_the_share_of_each_cell_in_the_foreground() {
    let net = SmoothNet::new(CLASSES);
    let mask = MaskConfig { source: MaskOrigin::Annotation, ..MaskConfig::default() };
    let foreground = foreground().to_kind(Kind::Double).unsqueeze(1);
    let config = SibConfig { mask: mask.clone(), ..SibConfig::default() };
    let here = terms(&config, &net);
    assert_eq!(here.mask, foreground);
    let outside: Tensor = &here.vjp * (1.0 - &foreground);
    let expected =
        outside.flatten(1, -1).var_dim([1i64].as_slice(), true, false).mean(None::<Kind>);
    assert!((scalar(&here.background) / scalar(&expected) - 1.0).abs() < 1e-12);

    // Of every third image, at the cells of a feature map of half the size.
    let vjp = VjpConfig { at: At::Layer("1".to_owned()), ..VjpConfig::default() };
    let coarse = SibConfig { vjp, images: Some(2), scale: 0.5, mask, ..SibConfig::default() };
    let cells = terms(&coarse, &net);
    let third = foreground.slice(0, None, None, 3);
    let pooled = third.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
    assert_eq!(cells.mask.size(), pooled.size());
    assert!(relative_difference(&cells.mask, &pooled) < 1e-12);

    let (images, _) = batch();
    let forward = |images: &Tensor, _: &mut dyn Probe| net.forward(images, Mode::Train);
    let unknown = config.terms(&images, forward, |z| z.mean(None)).unwrap_err().to_string();
    assert!(unknown.starts_with("mask.source: got annotation, expected network:"), "{unknown}");
}

#[test]
fn contributions_are_r_times_what_it_is_taken_at() {
    let net = SmoothNet::new(CLASSES);
    let of = |at: At, measure, normalise| {
        let vjp = VjpConfig { at, measure, normalise, ..VjpConfig::default() };
        terms(&SibConfig { vjp, ..SibConfig::default() }, &net).vjp
    };
    let (images, _) = batch();
    let [weight, bias] = ["0.weight", "0.bias"].map(|name| &net.0[name]);
    let map = images.conv2d(weight, Some(bias), [1, 1], [1, 1], [1, 1], 1).softplus();
    for (at, x) in [(At::Image, &images), (At::Layer("1".to_owned()), &map)] {
        let r = of(at.clone(), Measure::Gradient, Normalise::None);
        let contributions = of(at.clone(), Measure::Contribution, Normalise::None);
        assert!(relative_difference(&contributions, &(r * x)) < 1e-12);
        let mean_square =
            (&contributions * &contributions).mean_dim([1i64, 2, 3].as_slice(), true, None::<Kind>);
        let unit = of(at, Measure::Contribution, Normalise::Rms);
        assert!(relative_difference(&unit, &(contributions / mean_square.sqrt())) < 1e-12);
    }
}

#[test]
fn a_mask_of_the_image_is_the_mean_over_each_cell_and_constant() {
    let net = SmoothNet::new(CLASSES);
    let of = |at: At, mask_at| {
        let vjp = VjpConfig { at, ..VjpConfig::default() };
        let mask = MaskConfig { at: mask_at, ..MaskConfig::default() };
        terms(&SibConfig { vjp, mask, ..SibConfig::default() }, &net)
    };
    let own = of(At::Image, MaskAt::Terms).mask;
    for at in [At::Image, At::Layer("1".to_owned())] {
        let here = of(at, MaskAt::Image);
        assert!(!here.mask.requires_grad());
        let pooled = own.adaptive_avg_pool2d(&here.vjp.size()[2..]);
        assert!(relative_difference(&here.mask, &pooled) < 1e-12);
        let outside: Tensor = &here.vjp * (1.0 - &here.mask);
        let expected =
            outside.flatten(1, -1).var_dim([1i64].as_slice(), true, false).mean(None::<Kind>);
        assert!((scalar(&here.background) / scalar(&expected) - 1.0).abs() < 1e-12);
    }
}

#[test]
fn a_shuffled_mask_is_that_of_another_image_and_constant() {
    let net = SmoothNet::new(CLASSES);
    for source in [MaskOrigin::Network, MaskOrigin::Annotation] {
        let of = |shuffled| {
            let mask = MaskConfig { source, shuffled, ..MaskConfig::default() };
            terms(&SibConfig { mask, ..SibConfig::default() }, &net)
        };
        let (own, others) = (of(false), of(true));
        assert_eq!(own.vjp, others.vjp);
        assert_eq!(own.mask.detach().roll(1, 0), others.mask);
        assert!(!others.mask.requires_grad());
        let outside: Tensor = &others.vjp * (1.0 - &others.mask);
        let expected =
            outside.flatten(1, -1).var_dim([1i64].as_slice(), true, false).mean(None::<Kind>);
        assert!((scalar(&others.background) / scalar(&expected) - 1.0).abs() < 1e-12);
    }

    let mask = MaskConfig { shuffled: true, ..MaskConfig::default() };
    let config = SibConfig { mask, ..SibConfig::default() };
    config.check_batch(8, 4).unwrap();
    let alone = config.check_batch(8, 8).unwrap_err().to_string();
    assert!(alone.starts_with("mask.shuffled: got true, expected false"), "{alone}");
}
