//! The guard at every door that weights come in by: a NaN or an infinity among them spoils what is
//! computed, or hides in it.

use std::collections::BTreeMap;
use std::path::Path;

use tch::{Kind, Tensor};

use crate::{Error, Result};

/// Checks that every number of `tensors`, which come from `path`, is finite.
///
/// # Errors
/// [`Error::Malformed`] naming the first tensor with a NaN or an infinity, and how many there are.
pub fn expect_finite(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    match non_finite(tensors) {
        None => Ok(()),
        Some(what) => Err(Error::malformed(path, format!("not finite: {what}"))),
    }
}

/// The first of `tensors` with a NaN or an infinity, and how many there are, in words; `None` where all
/// numbers are finite.
pub fn non_finite(tensors: &BTreeMap<String, Tensor>) -> Option<String> {
    let mut broken = tensors.iter().filter_map(|(name, tensor)| {
        let values = non_finite_values(tensor);
        (values > 0).then_some((name, tensor.numel(), values))
    });
    let (name, numel, values) = broken.next()?;
    let what = format!("{values} of {numel} values of {name:?} are NaN or infinite");
    Some(match broken.count() {
        0 => what,
        1 => format!("{what}, and so are values of another tensor"),
        others => format!("{what}, and so are values of {others} other tensors"),
    })
}

/// How many values of `tensor` are NaN or infinite; counters have none.
fn non_finite_values(tensor: &Tensor) -> i64 {
    let tensor = tensor.detach();
    // One pass that allocates nothing: finite numbers of f32 add up to one of f64. What remains in doubt,
    // such as large numbers of f64, is looked at one by one.
    if !tensor.is_floating_point() || tensor.sum(Kind::Double).double_value(&[]).is_finite() {
        return 0;
    }
    tensor.isfinite().logical_not().sum(Kind::Int64).int64_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_float_is_looked_at_and_no_counter() {
        let finite = Tensor::from_slice(&[1.0, -2.5, 65504.0]);
        for kind in [Kind::Half, Kind::BFloat16, Kind::Float, Kind::Double] {
            for broken in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let good = finite.to_kind(kind);
                let bad = Tensor::from_slice(&[1.0, broken, broken]).to_kind(kind);
                let tensors = [("a", &good), ("b", &bad), ("c", &bad)];
                let tensors = tensors.map(|(name, x)| (name.to_owned(), x.shallow_clone())).into();
                let what = non_finite(&tensors).unwrap();
                assert_eq!(
                    what,
                    "2 of 3 values of \"b\" are NaN or infinite, and so are values of another tensor"
                );
            }
        }
        let large = Tensor::from_slice(&[f64::MAX, f64::MAX]);
        let counter = Tensor::from(i64::MAX);
        let empty = Tensor::zeros([0], (Kind::Float, tch::Device::Cpu));
        let tensors = [("large", large), ("counter", counter), ("empty", empty)];
        assert_eq!(non_finite(&tensors.map(|(name, x)| (name.to_owned(), x)).into()), None);
    }
}
