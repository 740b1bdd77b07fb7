//! Batch normalisation, with what follows it.

use sib_core::tensor::{
    batch_norm_eval, batch_norm_eval_relu, batch_norm_train, batch_norm_train_relu,
};
use sib_core::testing::{relative_difference, test_device};
use tch::{Device, Kind, Tensor};

use crate::{
    Layout, NOT_FINITE, affine_and_statistics, assert_hides_nothing, assert_same, derivatives,
    leaf, spoiled,
};

/// Sizes that fill no vector register, and one of a single pixel.
const SIZES: [[i64; 4]; 4] = [[4, 6, 5, 7], [3, 17, 9, 2], [2, 3, 31, 33], [5, 8, 1, 1]];

/// What follows a normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Nothing,
    Relu,
    ShortcutAndRelu,
}

/// Everything that may follow.
const THENS: [Then; 3] = [Then::Nothing, Then::Relu, Then::ShortcutAndRelu];

impl Then {
    /// Pixels, weight, bias, and the shortcut where there is one; the affine variables are never bf16.
    fn inputs(self, size: &[i64], kind: Kind, layout: Layout) -> Vec<Tensor> {
        let variables = if kind == Kind::BFloat16 { Kind::Float } else { kind };
        let of_channels = |name| leaf(name, &size[1..2], variables, layout);
        let mut inputs =
            vec![leaf("x", size, kind, layout), of_channels("weight"), of_channels("bias")];
        if self == Self::ShortcutAndRelu {
            inputs.push(leaf("shortcut", size, kind, layout));
        }
        inputs
    }

    /// Normalised with the batch's own moments, by this crate.
    fn ours(self, inputs: &[Tensor], [mean, var]: &[Tensor; 2]) -> Tensor {
        let variables = [&inputs[1], &inputs[2], mean, var];
        match self {
            Self::Nothing => batch_norm_train(&inputs[0], variables, 0.1, 1e-5),
            _ => batch_norm_train_relu(&inputs[0], inputs.get(3), variables, 0.1, 1e-5),
        }
    }

    /// The same by libtorch.
    fn libtorchs(self, inputs: &[Tensor], [mean, var]: &[Tensor; 2]) -> Tensor {
        let (weight, bias, mean, var) = (Some(&inputs[1]), Some(&inputs[2]), Some(mean), Some(var));
        let y = inputs[0].batch_norm(weight, bias, mean, var, true, 0.1, 1e-5, true);
        match self {
            Self::Nothing => y,
            Self::Relu => y.relu(),
            Self::ShortcutAndRelu => (y + &inputs[3]).relu(),
        }
    }
}

/// Running statistics as a network starts with them.
fn statistics(channels: i64, kind: Kind) -> [Tensor; 2] {
    [0.0, 1.0].map(|value| Tensor::full(channels, value, (kind, test_device())))
}

#[test]
fn batch_normalisation_has_the_composite_s_derivatives() {
    for kind in [Kind::Double, Kind::Float] {
        let tolerance = if kind == Kind::Double { 1e-11 } else { 1e-4 };
        for size in SIZES {
            for layout in [Layout::Planes, Layout::ChannelsLast] {
                for then in THENS {
                    let inputs = then.inputs(&size, kind, layout);
                    let [ours, theirs] = [(); 2].map(|()| statistics(size[1], kind));
                    let fused = derivatives(&inputs, |i| then.ours(i, &ours));
                    let composite = derivatives(&inputs, |i| then.libtorchs(i, &theirs));
                    let case = format!("{kind:?} {size:?} {layout:?} {then:?}");
                    assert_same(&fused, &composite, tolerance, &case);
                    assert_same(&ours, &theirs, tolerance / 10.0, &format!("statistics, {case}"));
                }
            }
        }
    }
}

#[test]
fn batch_normalisation_of_bfloat16_is_that_of_f32_between_roundings() {
    for size in SIZES {
        for layout in [Layout::Planes, Layout::ChannelsLast] {
            for then in THENS {
                if then == Then::ShortcutAndRelu && test_device() != Device::Cpu {
                    // There the output is rounded before the shortcut is added, too, which takes a pixel or two
                    // past the ReLU's corner.
                    continue;
                }
                let inputs = then.inputs(&size, Kind::BFloat16, layout);
                let [ours, theirs] = [(); 2].map(|()| statistics(size[1], Kind::Float));
                let stored = derivatives(&inputs, |i| then.ours(i, &ours));
                let exact = derivatives(&inputs, |i| {
                    let wide: Vec<_> = i.iter().map(|x| x.to_kind(Kind::Float)).collect();
                    then.ours(&wide, &theirs).to_kind(Kind::BFloat16)
                });
                let case = format!("{size:?} {layout:?} {then:?}");
                // Half of the last of 8 bits each, of two numbers.
                assert_same(&stored, &exact, 0.5_f64.powi(7), &case);
                assert_same(&ours, &theirs, 1e-5, &format!("statistics, {case}"));
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

#[test]
fn batch_normalisation_hides_no_nan_in_any_derivative() {
    let (size, kind) = ([3, 6, 5, 7], Kind::Float);
    for layout in [Layout::Planes, Layout::ChannelsLast] {
        for then in THENS {
            let inputs = then.inputs(&size, kind, layout);
            for place in 0..inputs.len() {
                for value in NOT_FINITE {
                    let inputs = spoiled(&inputs, place, value);
                    let running = statistics(6, kind);
                    let ours = derivatives(&inputs, |i| then.ours(i, &running));
                    let theirs = derivatives(&inputs, |i| then.libtorchs(i, &running));
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
