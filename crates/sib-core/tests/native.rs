//! The project's own derivatives against libtorch's composites.

use sib_core::tensor::{
    ConvGeometry, batch_norm_eval, batch_norm_eval_relu, batch_norm_train, batch_norm_train_relu,
    conv2d, conv2d_relu, gelu, layer_norm,
};
use sib_core::testing::{formula_tensor, relative_difference, test_device};
use tch::{Device, Kind, Tensor};

/// Contiguous, or with channels last in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    Planes,
    ChannelsLast,
}

fn laid_out(x: &Tensor, layout: Layout) -> Tensor {
    match layout {
        Layout::Planes => x.contiguous(),
        Layout::ChannelsLast => x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]),
    }
}

/// A leaf of this shape by formula.
fn leaf(name: &str, shape: &[i64], kind: Kind, layout: Layout) -> Tensor {
    let x = formula_tensor(name, shape).to_kind(kind).to_device(test_device());
    let x = if shape.len() == 4 { laid_out(&x, layout) } else { x };
    x.detach().set_requires_grad(true)
}

/// The output, all first derivatives of a functional of it, and all derivatives of a functional of
/// these: of `inputs` and of the incoming gradient.
fn derivatives(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) -> Vec<Tensor> {
    let y = f(inputs);
    let layout = if y.dim() == 4 && y.permute([0, 2, 3, 1]).is_contiguous() && y.size()[1] > 1 {
        Layout::ChannelsLast
    } else {
        Layout::Planes
    };
    let g = leaf("g", &y.size(), y.kind(), layout);
    let all: Vec<&Tensor> = inputs.iter().chain([&g]).collect();
    let first = Tensor::run_backward(
        &[(&y * &g).sum(y.kind())],
        &inputs.iter().collect::<Vec<_>>(),
        true,
        true,
    );
    let functional = first
        .iter()
        .enumerate()
        .map(|(i, d)| {
            let cotangent = formula_tensor(&format!("cotangent {i}"), &d.size()).to_kind(d.kind());
            (d * cotangent.to_device(test_device())).sum(d.kind())
        })
        .reduce(|a, b| a + b)
        .unwrap();
    let second = Tensor::run_backward(&[functional], &all, false, false);
    let first = first.iter().map(Tensor::detach);
    [y.detach()].into_iter().chain(first).chain(second).collect()
}

/// Compares all derivatives; one that is not there is zero.
#[track_caller]
fn assert_same(ours: &[Tensor], theirs: &[Tensor], tolerance: f64, case: &str) {
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let case = format!("{case}, derivative {i}");
        match (a.defined(), b.defined()) {
            (true, true) => {
                let difference = relative_difference(a, b);
                assert!(difference < tolerance, "{case}: {difference:e}");
            }
            (true, false) => assert_eq!(a, &a.zeros_like(), "{case}"),
            (false, true) => assert_eq!(b, &b.zeros_like(), "{case}"),
            (false, false) => {}
        }
    }
}

/// Sizes that fill no vector register, and one of a single pixel.
const SIZES: [[i64; 4]; 4] = [[4, 6, 5, 7], [3, 17, 9, 2], [2, 3, 31, 33], [5, 8, 1, 1]];

/// What follows a normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Nothing,
    Relu,
    ShortcutAndRelu,
}

#[test]
fn batch_normalisation_has_the_composite_s_derivatives() {
    for kind in [Kind::Double, Kind::Float] {
        let tolerance = if kind == Kind::Double { 1e-11 } else { 1e-4 };
        for size in SIZES {
            for layout in [Layout::Planes, Layout::ChannelsLast] {
                for then in [Then::Nothing, Then::Relu, Then::ShortcutAndRelu] {
                    let channels = [size[1]];
                    let mut inputs = vec![
                        leaf("x", &size, kind, layout),
                        leaf("weight", &channels, kind, layout),
                        leaf("bias", &channels, kind, layout),
                    ];
                    if then == Then::ShortcutAndRelu {
                        inputs.push(leaf("shortcut", &size, kind, layout));
                    }
                    let statistics = || {
                        [
                            Tensor::zeros(channels, (kind, test_device())),
                            Tensor::ones(channels, (kind, test_device())),
                        ]
                    };
                    let (ours, theirs) = (statistics(), statistics());
                    let fused = derivatives(&inputs, |i| {
                        let variables = [&i[1], &i[2], &ours[0], &ours[1]];
                        match then {
                            Then::Nothing => batch_norm_train(&i[0], variables, 0.1, 1e-5),
                            _ => batch_norm_train_relu(&i[0], i.get(3), variables, 0.1, 1e-5),
                        }
                    });
                    let composite = derivatives(&inputs, |i| {
                        let (weight, bias) = (Some(&i[1]), Some(&i[2]));
                        let (mean, var) = (Some(&theirs[0]), Some(&theirs[1]));
                        let y = i[0].batch_norm(weight, bias, mean, var, true, 0.1, 1e-5, true);
                        match then {
                            Then::Nothing => y,
                            Then::Relu => y.relu(),
                            Then::ShortcutAndRelu => (y + &i[3]).relu(),
                        }
                    });
                    let case = format!("{kind:?} {size:?} {layout:?} {then:?}");
                    assert_same(&fused, &composite, tolerance, &case);
                    assert_same(&ours, &theirs, tolerance / 10.0, &format!("statistics, {case}"));
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "at least two values a channel")]
fn one_value_a_channel_has_no_variance() {
    let [weight, bias, mean, var] = affine_and_statistics(3, Kind::Float);
    let x = leaf("x", &[1, 3, 1, 1], Kind::Float, Layout::Planes);
    let _ = batch_norm_train(&x, [&weight, &bias, &mean, &var], 0.1, 1e-5);
}

#[test]
fn batch_normalisation_keeps_a_small_spread_about_a_large_mean() {
    if test_device() != Device::Cpu {
        return; // libtorch's own kernel computes the moments there
    }
    let x = leaf("x", &[4, 6, 16, 16], Kind::Float, Layout::ChannelsLast) + 1000;
    let output = |kind: Kind| {
        let vector = |value: f64| Tensor::full(6, value, (kind, test_device()));
        let [weight, bias, mean, var] = [1.0, 0.0, 0.0, 1.0].map(vector);
        batch_norm_train(&x.to_kind(kind), [&weight, &bias, &mean, &var], 0.1, 1e-5)
    };
    let difference = relative_difference(&output(Kind::Float), &output(Kind::Double));
    assert!(difference < 2e-4, "{difference:e}");
}

/// Weight, bias, mean and variance of `channels` by formula; the variance is positive.
fn affine_and_statistics(channels: i64, kind: Kind) -> [Tensor; 4] {
    let [weight, bias, mean, spread] = ["weight", "bias", "mean", "spread"]
        .map(|name| leaf(name, &[channels], kind, Layout::Planes));
    [weight, bias, mean.detach(), (spread.detach() * 2).square() + 0.1]
}

fn libtorchs_eval(x: &Tensor, variables: [&Tensor; 4]) -> Tensor {
    let [weight, bias, mean, var] = variables.map(Some);
    x.batch_norm(weight, bias, mean, var, false, 0.1, 1e-5, false)
}

#[test]
fn batch_normalisation_in_eval_mode_has_the_composite_s_derivatives() {
    for kind in [Kind::Double, Kind::Float] {
        let tolerance = if kind == Kind::Double { 1e-11 } else { 1e-4 };
        for size in SIZES {
            for layout in [Layout::Planes, Layout::ChannelsLast] {
                for (relu, frozen) in [(false, false), (true, false), (false, true), (true, true)] {
                    let x = leaf("x", &size, kind, layout);
                    let [mut weight, mut bias, mean, var] = affine_and_statistics(size[1], kind);
                    let mut inputs = vec![x.shallow_clone()];
                    if frozen {
                        (weight, bias) = (weight.detach(), bias.detach());
                    } else {
                        inputs.extend([weight.shallow_clone(), bias.shallow_clone()]);
                    }
                    let fused = derivatives(&inputs, |_| {
                        let f = if relu { batch_norm_eval_relu } else { batch_norm_eval };
                        f(&x, [&weight, &bias, &mean, &var], 1e-5)
                    });
                    let composite = derivatives(&inputs, |_| {
                        let y = libtorchs_eval(&x, [&weight, &bias, &mean, &var]);
                        if relu { y.relu() } else { y }
                    });
                    let case = format!("{kind:?} {size:?} {layout:?} {relu} {frozen}");
                    assert_same(&fused, &composite, tolerance, &case);
                }
            }
        }
    }
}

#[test]
fn batch_normalisation_in_eval_mode_takes_pixels_in_any_order() {
    // A view with gaps, and an incoming gradient in the other layout than the input's.
    let [weight, bias, mean, var] = affine_and_statistics(6, Kind::Double);
    let whole = leaf("x", &[4, 6, 5, 9], Kind::Double, Layout::Planes);
    let g = leaf("g", &[4, 6, 5, 4], Kind::Double, Layout::ChannelsLast);
    let gradients = |f: &dyn Fn(&Tensor) -> Tensor| {
        let y = f(&whole.narrow(3, 2, 4));
        let leaves = [&whole, &weight, &bias];
        let first = Tensor::run_backward(&[(&y * &g).sum(Kind::Double)], &leaves, true, true);
        let squares = first.iter().map(|d| d.square().sum(Kind::Double)).reduce(|a, b| a + b);
        let second = Tensor::run_backward(&[squares.unwrap()], &[&whole, &weight], false, false);
        [y].into_iter().chain(first).chain(second).collect::<Vec<_>>()
    };
    let fused = gradients(&|x| batch_norm_eval_relu(x, [&weight, &bias, &mean, &var], 1e-5));
    let composite = gradients(&|x| libtorchs_eval(x, [&weight, &bias, &mean, &var]).relu());
    assert_same(&fused, &composite, 1e-11, "a view");
}

/// A stride of 2 and a padding of 1.
const HALVING: ConvGeometry = ConvGeometry { stride: 2, padding: 1, groups: 1 };

#[test]
fn convolution_has_libtorchs_derivatives() {
    for kind in [Kind::Double, Kind::Float] {
        let tolerance = if kind == Kind::Double { 1e-12 } else { 1e-4 };
        for (side, stride, groups) in [(1, 1, 1), (3, 1, 1), (3, 2, 1), (7, 2, 1), (3, 2, 3)] {
            let geometry = ConvGeometry { stride, padding: side / 2, groups };
            for (layout, with_bias) in [
                (Layout::Planes, false),
                (Layout::ChannelsLast, false),
                (Layout::Planes, true),
                (Layout::ChannelsLast, true),
            ] {
                let mut inputs = vec![
                    leaf("x", &[3, 6, 9, 11], kind, layout),
                    leaf("w", &[9, 6 / groups, side, side], kind, layout),
                ];
                if with_bias {
                    inputs.push(leaf("b", &[9], kind, layout));
                }
                let ours = derivatives(&inputs, |i| conv2d(&i[0], &i[1], i.get(2), geometry));
                let libtorchs =
                    |i: &[Tensor]| i[0].conv2d(&i[1], i.get(2), stride, side / 2, 1, groups);
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
fn layer_normalisation_has_the_composite_s_derivatives() {
    for (kind, tolerance) in [(Kind::Double, 1e-11), (Kind::Float, 1e-4)] {
        for size in [[2, 5, 48], [3, 1, 7], [1, 50, 33]] {
            let features = [size[2]];
            let leaf = |name, shape: &[i64]| leaf(name, shape, kind, Layout::Planes);
            let inputs = [leaf("x", &size), leaf("weight", &features), leaf("bias", &features)];
            let ours = derivatives(&inputs, |i| layer_norm(&i[0], &i[1], &i[2], 1e-6));
            let theirs = derivatives(&inputs, |i| {
                i[0].layer_norm(features, Some(&i[1]), Some(&i[2]), 1e-6, true)
            });
            assert_same(&ours, &theirs, tolerance, &format!("{kind:?} {size:?}"));
            // Rows that do not lie one after the other.
            let turned = derivatives(&inputs, |i| {
                layer_norm(&i[0].transpose(0, 1), &i[1], &i[2], 1e-6).transpose(0, 1)
            });
            assert_same(&turned, &theirs, tolerance, &format!("{kind:?} {size:?} turned"));
        }
    }
}

#[test]
fn gelu_has_the_composite_s_derivatives() {
    for (kind, tolerance) in [(Kind::Double, 1e-11), (Kind::Float, 1e-5)] {
        let x = (leaf("x", &[4, 33], kind, Layout::Planes) * 5.0).detach().set_requires_grad(true);
        let ours = derivatives(&[x.shallow_clone()], |i| gelu(&i[0]));
        let theirs = derivatives(&[x], |i| i[0].gelu("none"));
        assert_same(&ours, &theirs, tolerance, &format!("{kind:?}"));
    }
}

#[test]
fn a_third_derivative_is_an_error_and_not_zero() {
    let x = leaf("x", &[2, 3, 4, 4], Kind::Double, Layout::Planes);
    let w = leaf("w", &[3, 3, 3, 3], Kind::Double, Layout::Planes);
    let error_of = |y: Tensor, of: &Tensor| {
        let first = Tensor::run_backward(&[(&y * &y).sum(Kind::Double)], &[&x], true, true);
        let functional = (&first[0] * &first[0]).sum(Kind::Double);
        Tensor::f_run_backward(&[functional], &[of], true, true).unwrap_err().to_string()
    };
    let [weight, bias, mean, var] = affine_and_statistics(3, Kind::Double);
    let variables = [&weight, &bias, &mean, &var];
    let error = error_of(batch_norm_train(&x, variables, 0.1, 1e-5), &x);
    assert!(error.contains("third derivatives of batch normalisation"), "{error}");
    let features = leaf("features", &[4], Kind::Double, Layout::Planes);
    let error = error_of(layer_norm(&x, &features, &features, 1e-5), &x);
    assert!(error.contains("third derivatives of layer normalisation"), "{error}");
    let error = error_of(gelu(&x), &x);
    assert!(error.contains("third derivatives of GELU"), "{error}");
    let geometry = ConvGeometry { stride: 1, padding: 1, groups: 1 };
    let error = error_of(conv2d(&x, &w, None, geometry), &w);
    assert!(error.contains("third derivatives of convolution"), "{error}");
    if test_device() != Device::Cpu {
        return; // libtorch's own derivatives have no end
    }
    let error = error_of(batch_norm_eval(&x, variables, 1e-5), &x);
    assert!(error.contains("third derivatives of batch normalisation"), "{error}");
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

/// What is NaN in libtorch's own output and derivatives is not finite here; of the output, what is finite
/// here is the same there. `exact` asks for NaN at the very same places of it: libtorch splits the
/// affine map of a normalisation otherwise, and an infinite weight is then NaN at other places.
#[track_caller]
fn assert_hides_nothing(ours: &[Tensor], theirs: &[Tensor], exact: bool, case: &str) {
    for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        if theirs.defined() {
            // What nothing depends on is zero.
            let ours = if ours.defined() { ours.shallow_clone() } else { theirs.zeros_like() };
            let hidden = theirs.isnan().logical_and(&ours.isfinite());
            let hidden = hidden.sum(Kind::Int64).int64_value(&[]);
            assert_eq!(hidden, 0, "{case}, derivative {i}: of {} values", theirs.numel());
        }
    }
    let (ours, theirs) = (&ours[0], &theirs[0]);
    assert!(!exact || ours.isnan() == theirs.isnan(), "{case}: NaN at other places");
    let finite = ours.isfinite();
    let [ours, theirs] = [ours, theirs].map(|y| y.where_scalarother(&finite, 0.0));
    assert!(relative_difference(&ours, &theirs) < 2e-2, "{case}: finite values");
}

/// Copies of `inputs`, `value` put into the middle of number `place`.
fn spoiled(inputs: &[Tensor], place: usize, value: f64) -> Vec<Tensor> {
    let copy = |(i, input): (usize, &Tensor)| {
        let copy = input.detach().copy();
        if i == place {
            let middle: Vec<i64> = input.size().iter().map(|side| side / 2).collect();
            let mut at = copy.shallow_clone();
            for index in middle {
                at = at.select(0, index);
            }
            let _ = at.fill_(value);
        }
        copy.set_requires_grad(input.requires_grad())
    };
    inputs.iter().enumerate().map(copy).collect()
}

const NOT_FINITE: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

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
    for layout in [Layout::Planes, Layout::ChannelsLast] {
        let inputs = [
            leaf("x", &[3, 5, 9, 11], Kind::Float, layout),
            leaf("w", &[4, 5, 3, 3], Kind::Float, layout),
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

#[test]
fn batch_normalisation_hides_no_nan_in_any_derivative() {
    let (size, kind) = ([3, 6, 5, 7], Kind::Float);
    for layout in [Layout::Planes, Layout::ChannelsLast] {
        for then in [Then::Nothing, Then::Relu, Then::ShortcutAndRelu] {
            let mut inputs = vec![
                leaf("x", &size, kind, layout),
                leaf("weight", &[6], kind, layout),
                leaf("bias", &[6], kind, layout),
            ];
            if then == Then::ShortcutAndRelu {
                inputs.push(leaf("shortcut", &size, kind, layout));
            }
            for place in 0..inputs.len() {
                for value in NOT_FINITE {
                    let inputs = spoiled(&inputs, place, value);
                    let [mean, var] = [0.0, 1.0].map(|v| Tensor::full(6, v, (kind, test_device())));
                    let ours = derivatives(&inputs, |i| {
                        let variables = [&i[1], &i[2], &mean, &var];
                        match then {
                            Then::Nothing => batch_norm_train(&i[0], variables, 0.1, 1e-5),
                            _ => batch_norm_train_relu(&i[0], i.get(3), variables, 0.1, 1e-5),
                        }
                    });
                    let theirs = derivatives(&inputs, |i| {
                        let none = None::<&Tensor>;
                        let (weight, bias) = (Some(&i[1]), Some(&i[2]));
                        let y = i[0].batch_norm(weight, bias, none, none, true, 0.1, 1e-5, true);
                        match then {
                            Then::Nothing => y,
                            Then::Relu => y.relu(),
                            Then::ShortcutAndRelu => (y + &i[3]).relu(),
                        }
                    });
                    let case = format!("{layout:?} {then:?} input {place}: {value}");
                    assert_hides_nothing(&ours, &theirs, value.is_nan(), &case);
                }
            }
        }
    }
}

#[test]
fn batch_normalisation_in_eval_mode_hides_no_nan_in_any_derivative() {
    let kind = Kind::Float;
    for layout in [Layout::Planes, Layout::ChannelsLast] {
        let mut inputs = vec![leaf("x", &[3, 6, 5, 7], kind, layout)];
        inputs.extend(affine_and_statistics(6, kind));
        for (relu, place) in [false, true].into_iter().flat_map(|r| (0..5).map(move |p| (r, p))) {
            for value in NOT_FINITE {
                let all = spoiled(&inputs, place, value);
                let [x, weight, bias, mean, var] = &all[..] else { unreachable!() };
                let leaves = [x.shallow_clone(), weight.shallow_clone(), bias.shallow_clone()];
                let ours = derivatives(&leaves, |_| {
                    let f = if relu { batch_norm_eval_relu } else { batch_norm_eval };
                    f(x, [weight, bias, mean, var], 1e-5)
                });
                let theirs = derivatives(&leaves, |_| {
                    let y = libtorchs_eval(x, [weight, bias, mean, var]);
                    if relu { y.relu() } else { y }
                });
                let case = format!("{layout:?} {relu} input {place}: {value}");
                assert_hides_nothing(&ours, &theirs, value.is_nan(), &case);
            }
        }
    }
}

#[test]
fn the_running_variance_of_a_constant_channel_is_not_negative() {
    // Whose sums of f32 round: values apart by the last digit.
    let x = Tensor::full([8, 3, 33, 31], 0.1, (Kind::Float, test_device()));
    let _ = x.get(0).fill_(0.1f32 as f64 * (1.0 + f64::from(f32::EPSILON)));
    let [weight, bias, mean, var] =
        [1.0, 0.0, 0.0, 0.0].map(|value| Tensor::full(3, value, (Kind::Float, test_device())));
    let _ = batch_norm_train(&x, [&weight, &bias, &mean, &var], 1.0, 1e-5);
    assert!(var.min().double_value(&[]) >= 0.0, "{var}");
}
