//! Convolution, with what follows it.

use sib_core::tensor::{ConvGeometry, conv2d, conv2d_relu};
use sib_core::testing::relative_difference;
use tch::{Kind, Tensor};

use crate::{Layout, NOT_FINITE, assert_hides_nothing, assert_same, derivatives, leaf, spoiled};

/// A stride of 2 and a padding of 1.
const HALVING: ConvGeometry = ConvGeometry { stride: 2, padding: 1, groups: 1 };

#[test]
fn convolution_has_libtorchs_derivatives() {
    for kind in [Kind::Double, Kind::Float] {
        let tolerance = if kind == Kind::Double { 1e-12 } else { 1e-4 };
        for (channels, side, stride, padding, groups) in [
            (6, 1, 1, 0, 1),
            (6, 3, 1, 1, 1),
            (6, 3, 2, 1, 1),
            (6, 7, 2, 3, 1),
            (6, 3, 2, 1, 3),
            // Images, whose gradient comes another way; strides that do not come out even, too.
            (3, 7, 2, 3, 1),
            (3, 3, 2, 0, 1),
            (3, 4, 4, 0, 1),
            (1, 1, 2, 0, 1),
            (3, 2, 3, 1, 1),
        ] {
            let geometry = ConvGeometry { stride, padding, groups };
            for (layout, with_bias) in [
                (Layout::Planes, false),
                (Layout::ChannelsLast, false),
                (Layout::Planes, true),
                (Layout::ChannelsLast, true),
            ] {
                let mut inputs = vec![
                    leaf("x", &[3, channels, 9, 11], kind, layout),
                    leaf("w", &[9, channels / groups, side, side], kind, layout),
                ];
                if with_bias {
                    inputs.push(leaf("b", &[9], kind, layout));
                }
                let ours = derivatives(&inputs, |i| conv2d(&i[0], &i[1], i.get(2), geometry));
                let libtorchs =
                    |i: &[Tensor]| i[0].conv2d(&i[1], i.get(2), stride, padding, 1, groups);
                let theirs = derivatives(&inputs, libtorchs);
                let case = format!("{kind:?} {geometry:?} {layout:?} {with_bias}");
                assert_same(&ours, &theirs, tolerance, &case);
                if let Some(bias) = inputs.get(2) {
                    let ours =
                        derivatives(&inputs, |i| conv2d_relu(&i[0], &i[1], bias, None, geometry));
                    let theirs = derivatives(&inputs, |i| libtorchs(i).relu());
                    assert_same(&ours, &theirs, tolerance, &format!("{case}, ReLU"));
                }
            }
        }
    }
}

#[test]
fn a_convolution_with_what_follows_is_the_composite() {
    // bf16 rounds once where the composite rounds after each step: half a unit of 8 bits each.
    for (kind, tolerance) in [(Kind::Double, 1e-15), (Kind::Float, 1e-6), (Kind::BFloat16, 2e-2)] {
        for layout in [Layout::Planes, Layout::ChannelsLast] {
            for with_shortcut in [false, true] {
                let x = leaf("x", &[2, 5, 9, 8], kind, layout);
                let weight = leaf("weight", &[7, 5, 3, 3], kind, layout);
                let bias = leaf("bias", &[7], kind, layout);
                let shortcut = leaf("shortcut", &[2, 7, 5, 4], kind, layout);
                let shortcut = with_shortcut.then_some(&shortcut);
                let y = x.conv2d(&weight, Some(&bias), 2, 1, 1, 1);
                let expected = shortcut.map_or(y.shallow_clone(), |shortcut| &y + shortcut).relu();
                let fused = || conv2d_relu(&x, &weight, &bias, shortcut, HALVING);
                let unrecorded = tch::no_grad(fused);
                let case = format!("{kind:?} {layout:?} {with_shortcut}");
                assert!(relative_difference(&unrecorded, &expected) <= tolerance, "{case}");
                assert!(!unrecorded.requires_grad());
                // Where derivatives are recorded it is the composite itself.
                let recorded = fused();
                assert_eq!(recorded, expected, "{case}");
                let gradient = |y: &Tensor| {
                    let y = y.sum(kind);
                    Tensor::run_backward(&[y], &[&x], false, false).remove(0)
                };
                assert_eq!(gradient(&recorded), gradient(&expected), "{case}");
            }
        }
    }
}

#[test]
fn a_convolution_with_what_follows_hides_no_nan() {
    for kind in [Kind::Double, Kind::Float, Kind::BFloat16] {
        for layout in [Layout::Planes, Layout::ChannelsLast] {
            for with_shortcut in [false, true] {
                let mut inputs = vec![
                    leaf("x", &[2, 5, 9, 8], kind, layout),
                    leaf("weight", &[7, 5, 3, 3], kind, layout),
                    leaf("bias", &[7], kind, layout),
                ];
                if with_shortcut {
                    inputs.push(leaf("shortcut", &[2, 7, 5, 4], kind, layout));
                }
                for place in 0..inputs.len() {
                    for value in NOT_FINITE {
                        let i = spoiled(&inputs, place, value);
                        let fused = || conv2d_relu(&i[0], &i[1], &i[2], i.get(3), HALVING);
                        let y = i[0].conv2d(&i[1], Some(&i[2]), 2, 1, 1, 1);
                        let y = i.get(3).map_or(y.shallow_clone(), |shortcut| y + shortcut).relu();
                        let case = format!("{kind:?} {layout:?} input {place}: {value}");
                        for ours in [tch::no_grad(fused), fused()] {
                            assert_hides_nothing(&[ours.detach()], &[y.detach()], true, &case);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn convolution_hides_no_nan_in_any_derivative() {
    let layouts = [Layout::Planes, Layout::ChannelsLast];
    for (layout, channels) in layouts.into_iter().flat_map(|layout| [(layout, 5), (layout, 3)]) {
        let inputs = [
            leaf("x", &[3, channels, 9, 11], Kind::Float, layout),
            leaf("w", &[4, channels, 3, 3], Kind::Float, layout),
        ];
        for (place, value) in (0..2).flat_map(|place| NOT_FINITE.map(|value| (place, value))) {
            let inputs = spoiled(&inputs, place, value);
            let ours = derivatives(&inputs, |i| conv2d(&i[0], &i[1], None, HALVING));
            let theirs = derivatives(&inputs, |i| i[0].conv2d(&i[1], None::<&Tensor>, 2, 1, 1, 1));
            let case = format!("{layout:?} input {place}: {value}");
            assert_hides_nothing(&ours, &theirs, true, &case);
        }
    }
}
