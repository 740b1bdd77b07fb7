//! Functions that run again for their derivatives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sib_core::recompute::{self, recomputed};
use sib_core::testing::{formula_tensor, relative_difference};
use tch::{Kind, Tensor};

fn leaf(name: &str, shape: &[i64]) -> Tensor {
    formula_tensor(name, shape).to_kind(Kind::Double).set_requires_grad(true)
}

/// A smooth function of `x` `[2,3]` and `w` `[3,3]` in both of which every derivative matters.
fn smooth(x: &Tensor, w: &Tensor) -> Tensor {
    x.matmul(w).tanh() * x.sin()
}

/// Gradients with respect to `x` and `w` of a loss that contains the gradient with respect to `x`.
fn step(x: &Tensor, w: &Tensor, f: impl Fn(&Tensor) -> Tensor) -> Vec<Tensor> {
    let y = f(x).square();
    let input_gradient =
        Tensor::run_backward(&[y.sum(Kind::Double)], &[x], true, true).swap_remove(0);
    let loss = y.sum(Kind::Double) + input_gradient.square().sum(Kind::Double);
    Tensor::run_backward(&[loss], &[x, w], false, false)
}

#[test]
fn derivatives_are_the_function_s_and_it_runs_four_times() {
    let (x, w) = (leaf("x", &[2, 3]), leaf("w", &[3, 3]));
    let runs = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let ours = step(&x, &w, |x| {
        let (w, runs) = (w.shallow_clone(), runs.clone());
        recomputed(x, move |x| {
            runs[usize::from(recompute::is_again())].fetch_add(1, Ordering::Relaxed);
            smooth(x, &w)
        })
    });
    let theirs = step(&x, &w, |x| smooth(x, &w));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let difference = relative_difference(ours, theirs);
        assert!(difference < 1e-14, "{difference:e}");
    }
    assert_eq!(runs.each_ref().map(|runs| runs.load(Ordering::Relaxed)), [1, 3]);
    assert_eq!(Arc::strong_count(&runs), 1, "the graph is gone, and the function with it");
}

#[test]
fn random_numbers_are_the_first_run_s() {
    let x = leaf("x", &[64]);
    tch::manual_seed(3);
    let y = recomputed(&x, |x| x * Tensor::rand([64], (Kind::Double, x.device())));
    let before = Tensor::rand([2], (Kind::Double, x.device()));
    let gradient = Tensor::run_backward(&[y.sum(Kind::Double)], &[&x], false, false).swap_remove(0);
    let after = Tensor::rand([2], (Kind::Double, x.device()));
    assert!(relative_difference(&(gradient * &x), &y) < 1e-15);
    tch::manual_seed(3);
    let _ = Tensor::rand([64], (Kind::Double, x.device()));
    for expected in [before, after] {
        assert_eq!(Tensor::rand([2], (Kind::Double, x.device())), expected);
    }
}

#[test]
fn without_derivatives_it_is_a_call() {
    let w = leaf("w", &[3, 3]);
    let x = formula_tensor("x", &[2, 3]).to_kind(Kind::Double);
    let expected = tch::no_grad(|| smooth(&x, &w));
    let y = tch::no_grad(|| {
        let w = w.shallow_clone();
        recomputed(&x, move |x| smooth(x, &w))
    });
    assert_eq!(y, expected);
    assert!(!y.requires_grad());
    assert!(!recomputed(&x, |x| x.sin()).requires_grad(), "nothing to differentiate");
}

#[test]
fn blocks_are_told_apart_from_what_lies_within_them_and_flags_are_set_back() {
    let x = leaf("x", &[2]);
    assert!(!recompute::is_on() && !recompute::is_again());
    let y = recompute::within(true, || {
        assert!(recompute::is_on());
        recompute::within(false, || assert!(!recompute::is_on()));
        let y = recomputed(&x, |x| {
            assert!(!recompute::is_on(), "a block within a block keeps its activations");
            x.sin()
        });
        assert!(recompute::is_on() && !recompute::is_again());
        y
    });
    let _ = Tensor::run_backward(&[y.sum(Kind::Double)], &[&x], false, false);
    let panic = std::panic::catch_unwind(|| recompute::within(true, || panic!("within")));
    assert!(panic.is_err() && !recompute::is_on() && !recompute::is_again());
}

#[test]
fn what_goes_wrong_is_said() {
    let x = leaf("x", &[2, 3]);
    let y = recomputed(&x, |x| {
        assert!(!recompute::is_again(), "the second time\0 fails");
        x.sin()
    });
    let error = Tensor::f_run_backward(&[y.sum(Kind::Double)], &[&x], false, false).unwrap_err();
    assert!(error.to_string().contains("the second time"), "{error}");

    let panic = std::panic::catch_unwind(|| recomputed(&leaf("x", &[2]), |_| panic!("at once")));
    let panic = panic.unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "at once");

    let y = recomputed(&x, |x| x.sin()).sum(Kind::Double);
    let first = Tensor::run_backward(&[y], &[&x], true, true).swap_remove(0);
    let functional = first.square().sum(Kind::Double);
    let error = Tensor::f_run_backward(&[functional], &[&x], true, true).unwrap_err();
    assert!(error.to_string().contains("third derivatives of recomputed blocks"), "{error}");
}
