//! Average precision of a ranking of pixels.

/// `Σ (recall_i − recall_{i−1})·precision_i` over the distinct values in decreasing order, pixels of
/// equal value entering together; `None` without positive pixels.
///
/// `order`: the indices of `values` by decreasing value.
pub(super) fn average_precision(values: &[f32], order: &[u32], positive: &[bool]) -> Option<f64> {
    let total = positive.iter().filter(|&&p| p).count();
    if total == 0 {
        return None;
    }
    let (mut hits, mut seen, mut area) = (0, 0, 0.0);
    for ties in order.chunk_by(|&a, &b| values[a as usize] == values[b as usize]) {
        let new = ties.iter().filter(|&&index| positive[index as usize]).count();
        hits += new;
        seen += ties.len();
        area += new as f64 * (hits as f64 / seen as f64);
    }
    Some(area / total as f64)
}
