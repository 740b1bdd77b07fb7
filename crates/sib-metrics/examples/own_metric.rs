//! A metric of one's own: how concentrated heatmaps are.

use sib_core::Result;
use sib_core::testing::formula_tensor;
use sib_metrics::{Exclusion, Outcome, Summary};
use tch::{Device, Kind, Tensor};

// quote: metric
/// The Gini index of each heatmap's pixels (Hurley & Rickard 2009, doi:10.1109/TIT.2009.2027527,
/// eq. 7): 0 of equal ones, close to 1 where one pixel has it all.
///
/// `heatmaps`: `[B,H,W]`, not negative. A map that is zero or not finite has no value.
///
/// # Errors
/// What libtorch refuses.
fn gini(heatmaps: &Tensor) -> Result<Vec<Outcome<f64>>> {
    let (sorted, _) = heatmaps.f_flatten(1, -1)?.to_kind(Kind::Double).f_sort(-1, false)?; // [B,N]
    let count = sorted.size()[1];
    let place = Tensor::arange(count, (Kind::Double, sorted.device())); // 0 the lowest
    let share = &sorted / sorted.sum_dim_intlist([1].as_slice(), true, Kind::Double);
    let below = share * (count as f64 - 0.5 - place) / count as f64;
    let gini = below.sum_dim_intlist([1].as_slice(), false, None::<Kind>) * -2.0 + 1.0;
    let values: Vec<f64> = gini.try_into()?;
    let zero: Vec<bool> = sorted.f_eq(0.0)?.f_all_dim(1, false)?.try_into()?;
    let outcome = |(value, zero): (f64, bool)| match value {
        _ if zero => Err(Exclusion::FlatHeatmap),
        value if value.is_finite() => Ok(value),
        _ => Err(Exclusion::NonFiniteHeatmap),
    };
    Ok(values.into_iter().zip(zero).map(outcome).collect())
}
// end

pub(crate) fn main() -> Result<()> {
    let flat = Tensor::full([1, 8, 8], 0.3, (Kind::Float, Device::Cpu));
    let point = flat.zeros_like();
    let _ = point.get(0).get(3).get(4).fill_(7.0);
    let noise = formula_tensor("heatmaps", &[4, 8, 8]).abs().to_kind(Kind::Float);
    let empty = flat.zeros_like();
    let outcomes = gini(&Tensor::cat(&[flat, point, noise, empty], 0))?;
    assert!(outcomes[0].unwrap().abs() < 1e-12);
    assert_eq!(outcomes[1], Ok(1.0 - 1.0 / 64.0));
    assert_eq!(outcomes[6], Err(Exclusion::FlatHeatmap));

    let excluded = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    let summary: Summary = outcomes.into_iter().flatten().collect();
    let (mean, error) = (summary.mean().unwrap(), summary.standard_error().unwrap());
    println!("Gini index {mean:.3} ± {error:.3} of {} maps, {excluded} left out", summary.n());
    Ok(())
}
