//! The project's own derivatives against libtorch's composites.

mod batch_norm;
mod convolution;
mod rows;
mod third_derivatives;

use sib_core::testing::{formula_tensor, relative_difference, test_device};
use tch::{Kind, Tensor};

/// Contiguous, or with channels last in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Layout {
    Planes,
    ChannelsLast,
}

pub(crate) fn laid_out(x: &Tensor, layout: Layout) -> Tensor {
    match layout {
        Layout::Planes => x.contiguous(),
        Layout::ChannelsLast => x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]),
    }
}

/// A leaf of this shape by formula.
pub(crate) fn leaf(name: &str, shape: &[i64], kind: Kind, layout: Layout) -> Tensor {
    let x = formula_tensor(name, shape).to_kind(kind).to_device(test_device());
    let x = if shape.len() == 4 { laid_out(&x, layout) } else { x };
    x.detach().set_requires_grad(true)
}

/// The output, all first derivatives of a functional of it, and all derivatives of a functional of
/// these: of `inputs` and of the incoming gradient.
pub(crate) fn derivatives(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) -> Vec<Tensor> {
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
pub(crate) fn assert_same(ours: &[Tensor], theirs: &[Tensor], tolerance: f64, case: &str) {
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

/// Weight, bias, mean and variance of `channels` by formula; the variance is positive.
pub(crate) fn affine_and_statistics(channels: i64, kind: Kind) -> [Tensor; 4] {
    let [weight, bias, mean, spread] = ["weight", "bias", "mean", "spread"]
        .map(|name| leaf(name, &[channels], kind, Layout::Planes));
    [weight, bias, mean.detach(), (spread.detach() * 2).square() + 0.1]
}

/// What is NaN in libtorch's own output and derivatives is not finite here; of the output, what is finite
/// here is the same there. `exact` asks for NaN at the very same places of it: libtorch splits the
/// affine map of a normalisation otherwise, and an infinite weight is then NaN at other places.
#[track_caller]
pub(crate) fn assert_hides_nothing(ours: &[Tensor], theirs: &[Tensor], exact: bool, case: &str) {
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
pub(crate) fn spoiled(inputs: &[Tensor], place: usize, value: f64) -> Vec<Tensor> {
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

pub(crate) const NOT_FINITE: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
