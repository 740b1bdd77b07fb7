//! The few tensor idioms that the maths repeats.

use tch::{Kind, Tensor};

/// `[B, ...]` as rows `[B, D]`.
pub fn rows(x: &Tensor) -> Tensor {
    x.flatten(1, -1)
}

/// Rows `[B, D]` scaled to unit Euclidean length; a row shorter than `1e-12` is divided by that.
pub fn l2_normalise_rows(x: &Tensor) -> Tensor {
    // Clamped under the root: the root of an exact zero would have an infinite derivative.
    let squared_norm = (x * x).sum_dim_intlist([-1i64].as_slice(), true, None::<Kind>);
    x / squared_norm.clamp_min(1e-24).sqrt()
}

/// The value of a scalar tensor.
pub fn scalar(x: &Tensor) -> f64 {
    x.double_value(&[])
}
