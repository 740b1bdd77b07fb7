//! Tensors as operations between processes take them: without gaps, and many in one.

use tch::Tensor;

use crate::Result;
use crate::tensor::channels_lie_last;

/// Tensors are added up in so many values at a time, 25 MB of f32: each operation costs milliseconds where processors
/// are busy, more than the copies.
const BUCKET: usize = 25 << 18;

/// Tensors without gaps that stand for others, in the same memory where that is possible.
pub(super) struct Dense<'t> {
    of: &'t [&'t Tensor],
    tensors: Vec<Tensor>,
}

impl<'t> Dense<'t> {
    pub(super) fn new(of: &'t [&'t Tensor]) -> Self {
        Self { of, tensors: of.iter().map(|tensor| densely(tensor)).collect() }
    }

    pub(super) fn tensors(&self) -> Vec<&Tensor> {
        self.tensors.iter().collect()
    }

    /// Calls `change` with all values, a bucket at a time, which it changes in place.
    pub(super) fn in_buckets(&self, change: impl Fn(&Tensor) -> Result<()>) -> Result<()> {
        for bucket in buckets(&self.tensors, BUCKET) {
            if let [one] = bucket {
                change(one)?;
                continue;
            }
            let parts: Vec<Tensor> = bucket.iter().map(|tensor| tensor.view([-1])).collect();
            let flat = Tensor::cat(&parts, 0);
            change(&flat)?;
            let lengths: Vec<i64> = parts.iter().map(|part| part.numel() as i64).collect();
            for (mut part, changed) in parts.into_iter().zip(flat.split_with_sizes(lengths, 0)) {
                part.copy_(&changed);
            }
        }
        Ok(())
    }

    /// Gives those that they stand for their values.
    pub(super) fn write_back(self) {
        for (tensor, dense) in self.of.iter().zip(&self.tensors) {
            if tensor.data_ptr() != dense.data_ptr() {
                tch::no_grad(|| tensor.shallow_clone().copy_(dense));
            }
        }
    }
}

fn densely(tensor: &Tensor) -> Tensor {
    let tensor = tensor.detach();
    if tensor.is_contiguous() {
        return tensor;
    }
    if channels_lie_last(&tensor) { tensor.permute([0, 2, 3, 1]) } else { tensor.contiguous() }
}

/// Tensors that follow each other, of one kind and of up to `limit` values, or one.
fn buckets(tensors: &[Tensor], limit: usize) -> Vec<&[Tensor]> {
    let mut buckets = Vec::new();
    let (mut first, mut filled) = (0, 0);
    for (place, tensor) in tensors.iter().enumerate() {
        let fits = filled + tensor.numel() <= limit && tensor.kind() == tensors[first].kind();
        if !fits && place > first {
            buckets.push(&tensors[first..place]);
            (first, filled) = (place, 0);
        }
        filled += tensor.numel();
    }
    if first < tensors.len() {
        buckets.push(&tensors[first..]);
    }
    buckets
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn buckets_keep_the_order_and_the_limit() {
        let of = |count: i64, kind| Tensor::zeros([count], (kind, Device::Cpu));
        let counts = [3, 4, 9, 2, 2, 20, 1].map(|count| of(count, Kind::Float));
        let lengths: Vec<usize> = buckets(&counts, 8).iter().map(|bucket| bucket.len()).collect();
        assert_eq!(lengths, [2, 1, 2, 1, 1]);
        let kinds = [of(1, Kind::Float), of(1, Kind::Double), of(1, Kind::Double)];
        let lengths: Vec<usize> = buckets(&kinds, 8).iter().map(|bucket| bucket.len()).collect();
        assert_eq!(lengths, [1, 2]);
        assert!(buckets(&[], 8).is_empty());
    }
}
