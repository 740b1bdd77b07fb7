//! Layer normalisation and the GELU.

use sib_core::tensor::{gelu, layer_norm};
use tch::Kind;

use crate::{Layout, assert_same, derivatives, leaf};

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
