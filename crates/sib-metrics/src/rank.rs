//! Orders and ranks of pixels, and the rank correlation of two heatmaps.

use rayon::prelude::*;
use sib_core::{Error, Result};
use tch::Tensor;

use crate::heatmap::{self, Heatmap};
use crate::outcome::{Exclusion, Outcome};

/// The indices of `values` by decreasing value; equal values (±0 are equal) keep their order.
///
/// The values must not be NaN.
pub fn descending_order(values: &[f32]) -> Vec<u32> {
    // Integer keys that sort as the floats do, the index below them: one unstable sort of u64.
    let mut keys: Vec<u64> = values
        .iter()
        .zip(0u64..)
        .map(|(value, index)| {
            let bits = (value + 0.0).to_bits(); // -0.0 + 0.0 = 0.0
            let ascending = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
            u64::from(!ascending) << 32 | index
        })
        .collect();
    keys.sort_unstable();
    keys.into_iter().map(|key| key as u32).collect()
}

/// Ranks from 1 (smallest) to n; equal values share the mean of their ranks.
fn average_ranks(values: &[f32]) -> Vec<f64> {
    let mut ranks = vec![0.0; values.len()];
    let mut below = values.len();
    let order = descending_order(values);
    for ties in order.chunk_by(|&a, &b| values[a as usize] == values[b as usize]) {
        let highest = below;
        below -= ties.len();
        let mean = (below + 1 + highest) as f64 / 2.0;
        ties.iter().for_each(|&i| ranks[i as usize] = mean);
    }
    ranks
}

/// Spearman's rank correlation of each pair of heatmaps, ties by average rank.
///
/// Compares an explanation with that of a network whose last layers were initialised anew: a
/// faithful explainer's maps then lose their correlation (Adebayo et al. 2018,
/// arXiv:1810.03292).
///
/// `a`, `b`: `[B,H,W]`. One value in [-1, 1] per image; a flat or non-finite map on either side
/// has none.
///
/// # Errors
/// The shapes are not `[B,H,W]` or differ.
pub fn spearman(a: &Tensor, b: &Tensor) -> Result<Vec<Outcome<f64>>> {
    let pixels = heatmap::pixels_per_image("heatmaps", a)?;
    if b.size() != a.size() {
        return Err(Error::shape("heatmaps to compare with", b, format!("{:?}", a.size())));
    }
    let (a, b) = (heatmap::to_f32(a)?, heatmap::to_f32(b)?);
    Ok(a.par_chunks(pixels).zip(b.par_chunks(pixels)).map(|(a, b)| spearman_of(a, b)).collect())
}

fn spearman_of(a: &[f32], b: &[f32]) -> Outcome<f64> {
    if Heatmap::new(a)?.is_flat() || Heatmap::new(b)?.is_flat() {
        return Err(Exclusion::FlatHeatmap);
    }
    let middle = (a.len() + 1) as f64 / 2.0;
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (rank_a, rank_b) in average_ranks(a).into_iter().zip(average_ranks(b)) {
        let (x, y) = (rank_a - middle, rank_b - middle);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    Ok((ab / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_and_signed_zeros_keep_their_order() {
        assert_eq!(descending_order(&[0.0, 2.0, -0.0, -1.0, 2.0, 0.0]), [1, 4, 0, 2, 5, 3]);
        assert_eq!(average_ranks(&[0.0, 2.0, -0.0, -1.0, 2.0]), [2.5, 4.5, 2.5, 1.0, 4.5]);
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_a_stable_sort(
            values in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO, 0..80),
        ) {
            let mut stable: Vec<u32> = (0..values.len() as u32).collect();
            stable.sort_by(|&i, &j| {
                values[j as usize].partial_cmp(&values[i as usize]).unwrap()
            });
            prop_assert_eq!(descending_order(&values), stable);
        }
    }
}
