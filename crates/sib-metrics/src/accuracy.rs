//! Top-k accuracy.

use sib_core::{Error, Result};
use tch::{Device, Kind, Tensor};

/// How many classes each image's label is ranked below: 0 where the label is the prediction.
///
/// Equal logits rank by class index, lowest first, so that the ranks of one image are distinct and
/// at most one class is the prediction.
///
/// `logits`: `[B,K]`; `labels`: `[B]`, integers in `0..K`. One rank in `0..K` per image.
///
/// # Errors
/// The shapes do not fit, a label is out of range, or a logit is not finite.
pub fn label_ranks(logits: &Tensor, labels: &Tensor) -> Result<Vec<usize>> {
    let [batch, classes] = logits.size()[..] else {
        return Err(Error::shape("logits", logits, "[B,K]"));
    };
    if labels.size() != [batch] {
        return Err(Error::shape("labels", labels, format!("[{batch}]")));
    }
    if batch == 0 || classes == 0 {
        return if batch == 0 { Ok(vec![]) } else { Err(Error::shape("logits", logits, "K > 0")) };
    }
    let logits = logits.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?;
    let logits: Vec<f64> = logits.f_reshape([-1])?.f_contiguous()?.try_into()?;
    let labels: Vec<i64> = labels.f_to_device(Device::Cpu)?.try_into()?;
    logits
        .chunks(classes as usize)
        .zip(labels)
        .map(|(row, label)| {
            let index = usize::try_from(label).ok().filter(|&index| index < row.len());
            let index = index.ok_or_else(|| {
                Error::invalid("label", label, format!("a class index below {classes}"))
            })?;
            if !row.iter().all(|logit| logit.is_finite()) {
                return Err(Error::NonFinite { what: format!("a logit of class {label}'s image") });
            }
            let own = row[index];
            let above = row.iter().filter(|&&logit| logit > own).count();
            let tied_before = row[..index].iter().filter(|&&logit| logit == own).count();
            Ok(above + tied_before)
        })
        .collect()
}

/// Whether each image's label is among its `k` highest logits, ties by class index.
///
/// `logits`: `[B,K]`; `labels`: `[B]`, integers in `0..K`; `k`: at least 1, may exceed `K`.
///
/// # Errors
/// `k` is 0, or as [`label_ranks`].
pub fn top_k_hits(logits: &Tensor, labels: &Tensor, k: usize) -> Result<Vec<bool>> {
    if k == 0 {
        return Err(Error::invalid("k", k, "at least 1"));
    }
    Ok(label_ranks(logits, labels)?.into_iter().map(|rank| rank < k).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_go_to_the_lower_class() {
        let logits = Tensor::from_slice2(&[[1.0, 3.0, 3.0, 2.0]; 4]);
        let labels = Tensor::from_slice(&[0i64, 1, 2, 3]);
        assert_eq!(label_ranks(&logits, &labels).unwrap(), [3, 0, 1, 2]);
        assert_eq!(top_k_hits(&logits, &labels, 1).unwrap(), [false, true, false, false]);
        assert_eq!(top_k_hits(&logits, &labels, 9).unwrap(), [true; 4]);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let logits = Tensor::from_slice2(&[[1.0, f64::NAN]]);
        let label = |label: i64| Tensor::from_slice(&[label]);
        assert!(matches!(label_ranks(&logits, &label(0)), Err(Error::NonFinite { .. })));
        let infinite = Tensor::from_slice2(&[[1.0, f64::INFINITY]]);
        assert!(matches!(label_ranks(&infinite, &label(1)), Err(Error::NonFinite { .. })));
        assert!(matches!(label_ranks(&logits, &label(2)), Err(Error::Invalid { .. })));
        assert!(matches!(label_ranks(&logits, &label(-1)), Err(Error::Invalid { .. })));
        assert!(matches!(label_ranks(&logits.view(2), &label(0)), Err(Error::Shape { .. })));
        assert!(top_k_hits(&logits, &label(0), 0).is_err());
    }

    proptest! {
        #[test]
        fn the_labels_of_one_image_have_distinct_ranks(
            row in prop::collection::vec((-3i8..3).prop_map(f32::from), 1..12),
        ) {
            let classes = row.len() as i64;
            let logits = Tensor::from_slice(&row).expand([classes, classes], false);
            let labels = Tensor::arange(classes, (Kind::Int64, Device::Cpu));
            let mut ranks = label_ranks(&logits, &labels).unwrap();
            ranks.sort_unstable();
            prop_assert_eq!(ranks, (0..row.len()).collect::<Vec<_>>());
        }
    }
}
