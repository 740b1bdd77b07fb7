//! What is not implemented is an error.

use sib_core::tensor::{ConvGeometry, batch_norm_eval, batch_norm_train, conv2d, gelu, layer_norm};
use sib_core::testing::test_device;
use tch::{Device, Kind, Tensor};

use crate::{Layout, affine_and_statistics, leaf};

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
