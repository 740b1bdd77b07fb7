//! Mean and spread of score curves.

use sib_core::{Error, Result};

use super::curve::Curve;
use crate::summary::Summary;

/// A stream of curves as mean and standard error at each point, without keeping them. The spread is a
/// sum about the mean, as in [`Summary`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MeanCurve(Vec<Summary>);

impl MeanCurve {
    /// Of `n` curves with these sums of their values, and of the squares of their deviations from
    /// their mean, at each point.
    ///
    /// # Errors
    /// Where there is not one sum of squares for each sum.
    pub fn from_sums(n: u64, sums: &[f64], deviations: &[f64]) -> Result<Self> {
        expect_length(sums.len(), deviations.len())?;
        let points = sums.iter().zip(deviations);
        Ok(Self(points.map(|(&sum, &squares)| Summary::from_sums(n, sum, squares)).collect()))
    }

    /// Adds one curve.
    ///
    /// # Errors
    /// Where it has another number of points than those before.
    pub fn push(&mut self, curve: &Curve) -> Result<()> {
        self.grow(curve.points().len())?;
        self.0.iter_mut().zip(curve.points()).for_each(|(point, &value)| point.push(value));
        Ok(())
    }

    /// Adds the curves of another.
    ///
    /// # Errors
    /// Where they have another number of points.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if !other.0.is_empty() {
            self.grow(other.0.len())?;
        }
        self.0.iter_mut().zip(&other.0).for_each(|(point, more)| point.merge(more));
        Ok(())
    }

    /// What is known of each point: of no curves there is none.
    pub fn points(&self) -> &[Summary] {
        &self.0
    }

    fn grow(&mut self, points: usize) -> Result<()> {
        if self.0.is_empty() {
            self.0.resize(points, Summary::new());
        }
        expect_length(self.0.len(), points)
    }
}

fn expect_length(expected: usize, got: usize) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    Err(Error::invalid("points of a curve", got, format!("{expected}, as of the others")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: [f64; 3]) -> Curve {
        Curve::new(points.to_vec())
    }

    #[test]
    fn points_are_summaries_of_their_own() {
        let mut mean = MeanCurve::default();
        assert!(mean.points().is_empty());
        for curve in [curve([0.0, 1.0, 4.0]), curve([2.0, 1.0, 2.0])] {
            mean.push(&curve).unwrap();
        }
        let points = mean.points();
        assert_eq!(points.iter().map(|p| p.mean().unwrap()).collect::<Vec<_>>(), [1.0, 1.0, 3.0]);
        assert_eq!(
            points.iter().map(|p| p.variance().unwrap()).collect::<Vec<_>>(),
            [2.0, 0.0, 2.0]
        );
        assert!(mean.push(&Curve::new(vec![1.0, 2.0])).is_err());
        assert!(MeanCurve::from_sums(2, &[1.0], &[]).is_err());
    }

    #[test]
    fn a_small_spread_survives_and_parts_merge() {
        // 1 - p of 1e-9: the mean of squares less the square of the mean has no digit left.
        let curves = (0..64).map(|i| curve([1.0 - 1e-9 * f64::from(i % 2), 0.5, 0.0]));
        let parts = curves.collect::<Vec<_>>();
        let mut merged = MeanCurve::default();
        for half in parts.chunks(17) {
            let mut part = MeanCurve::default();
            half.iter().for_each(|curve| part.push(curve).unwrap());
            let (n, summaries) = (half.len() as u64, part.points());
            let sums: Vec<f64> = summaries.iter().map(Summary::sum).collect();
            let deviations: Vec<f64> = summaries.iter().map(Summary::deviations).collect();
            let read = MeanCurve::from_sums(n, &sums, &deviations).unwrap();
            assert_eq!(read, part);
            merged.merge(&read).unwrap();
        }
        merged.merge(&MeanCurve::default()).unwrap();
        let expected = (0.25e-18 * 64.0 / 63.0 / 64.0f64).sqrt();
        let found = merged.points()[0].standard_error().unwrap();
        assert!((found / expected - 1.0).abs() < 1e-6, "{found:e} {expected:e}");
        assert_eq!(merged.points()[1].standard_error(), Some(0.0));
    }
}
