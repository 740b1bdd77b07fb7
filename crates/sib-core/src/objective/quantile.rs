//! Quantiles of each row of a tensor, soft and interpolated (decision C1).

use std::cmp::Ordering;
use std::ops::Range;

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// Soft quantiles of each row of `values` `[B,n]`: `Σ w_i v_(i)` over the order statistics, with
/// `w = softmax(−|i − q(n−1)|/T)`; each result is `[B,1]`.
///
/// Only the order statistics within `40·T` ranks of `q(n−1)` are gathered: the weight of the rest
/// is below `e^-40`, 4e-18.
pub(super) fn soft_quantiles<const N: usize>(
    values: &Tensor,
    quantiles: [f64; N],
    temperature: f64,
) -> [Tensor; N] {
    let n = *values.size().last().expect("rows");
    let half_width = (40.0 * temperature).ceil();
    let centres = quantiles.map(|q| q * (n - 1) as f64);
    let windows = centres.map(|centre| {
        let first = (centre.floor() - half_width).max(0.0) as i64;
        let last = ((centre.ceil() + half_width) as i64).min(n - 1);
        first..last + 1
    });
    // Only places come from the search: the derivative is that of the few gathered values.
    let places = places_of_ranks(&values.detach(), &windows);
    std::array::from_fn(|i| {
        let ranks = windows[i].clone();
        let ranks = Tensor::arange_start(ranks.start, ranks.end, (Kind::Double, values.device()));
        let weights = ((ranks - centres[i]).abs() / -temperature).softmax(-1, None::<Kind>);
        let nearest = values.gather(-1, &places[i], false);
        (nearest * weights.to_kind(values.kind())).sum_dim_intlist(
            [-1i64].as_slice(),
            true,
            None::<Kind>,
        )
    })
}

/// Quantile of each row of `values` `[B,n]`, interpolated linearly between ranks: `[B,1]`.
pub(super) fn linear_quantile(values: &Tensor, q: f64) -> Tensor {
    let (sorted, _) = values.sort(-1, false);
    let rank = q * (values.size()[1] - 1) as f64;
    let below = sorted.narrow(-1, rank.floor() as i64, 1);
    let above = sorted.narrow(-1, rank.ceil() as i64, 1);
    &below + (above - &below) * rank.fract()
}

/// Where in each row of `values` `[B,n]` the values of these ranks are, counted from 0 for the
/// smallest: `[B,length]` for each window of ranks.
fn places_of_ranks<const N: usize>(values: &Tensor, windows: &[Range<i64>; N]) -> [Tensor; N] {
    let search = match (values.device(), values.kind()) {
        (Device::Cpu, Kind::Float) => select::<f32, N>(values, windows, f32::total_cmp),
        (Device::Cpu, Kind::Double) => select::<f64, N>(values, windows, f64::total_cmp),
        _ => None,
    };
    search.unwrap_or_else(|| {
        let (_, order) = values.sort(-1, false);
        windows.each_ref().map(|ranks| order.narrow(-1, ranks.start, ranks.end - ranks.start))
    })
}

/// [`places_of_ranks`] by selection, which need not sort the rest.
fn select<T, const N: usize>(
    values: &Tensor,
    windows: &[Range<i64>; N],
    order: fn(&T, &T) -> Ordering,
) -> Option<[Tensor; N]>
where
    T: Copy + Send + Sync + tch::kind::Element,
    Vec<T>: TryFrom<Tensor>,
{
    let [batch, n] = values.size()[..] else { return None };
    let flat: Vec<T> = values.contiguous().view([-1]).try_into().ok()?;
    let by_value = |a: &(T, u32), b: &(T, u32)| order(&a.0, &b.0).then(a.1.cmp(&b.1));
    let rows: Vec<[Vec<i64>; N]> = flat
        .par_chunks(n as usize)
        .map(|row| {
            let mut pairs: Vec<(T, u32)> = row.iter().copied().zip(0..).collect();
            windows.each_ref().map(|ranks| {
                let (first, end) = (ranks.start as usize, ranks.end as usize);
                pairs.select_nth_unstable_by(first, by_value);
                let above = &mut pairs[first..];
                above.select_nth_unstable_by(end - first - 1, by_value);
                let window = &mut above[..end - first];
                window.sort_unstable_by(by_value);
                window.iter().map(|pair| i64::from(pair.1)).collect()
            })
        })
        .collect();
    Some(std::array::from_fn(|i| {
        let places: Vec<i64> = rows.iter().flat_map(|windows| windows[i].clone()).collect();
        Tensor::from_slice(&places).view([batch, -1])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::formula_tensor;

    /// The definition: a softmax over all n order statistics.
    fn full_soft_quantile(values: &Tensor, q: f64, temperature: f64) -> Tensor {
        let (sorted, _) = values.sort(-1, false);
        let n = values.size()[1];
        let ranks = Tensor::arange(n, (Kind::Double, values.device()));
        let weights = ((ranks - q * (n - 1) as f64).abs() / -temperature).softmax(-1, None::<Kind>);
        (sorted * weights).sum_dim_intlist([-1i64].as_slice(), true, None::<Kind>)
    }

    #[test]
    fn the_window_of_order_statistics_equals_the_full_softmax() {
        for n in [2, 7, 50, 4096] {
            let values = formula_tensor("values", &[3, n]);
            for q in [0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0] {
                for temperature in [0.05, 0.1, 1.0] {
                    let [windowed] = soft_quantiles(&values, [q], temperature);
                    let full = full_soft_quantile(&values, q, temperature);
                    let difference = (windowed - full).abs().max().double_value(&[]);
                    assert!(difference < 1e-12, "n {n}, q {q}, T {temperature}: {difference}");
                }
            }
        }
    }

    #[test]
    fn a_search_finds_what_a_sort_finds() {
        for kind in [Kind::Float, Kind::Double] {
            let values = formula_tensor("values", &[3, 500]).to_kind(kind);
            let (sorted, _) = values.sort(-1, false);
            // Overlapping, at both ends, and a single rank.
            let windows = [0..9, 495..500, 5..20, 77..78];
            let places = places_of_ranks(&values, &windows);
            for (ranks, places) in windows.iter().zip(&places) {
                let expected = sorted.narrow(-1, ranks.start, ranks.end - ranks.start);
                assert_eq!(values.gather(-1, places, false), expected, "{kind:?} {ranks:?}");
            }
        }
    }
}
