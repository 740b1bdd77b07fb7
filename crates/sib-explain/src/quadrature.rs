//! Quadrature rules on `[0,1]`.

use serde::{Deserialize, Serialize};
use sib_core::{Error, Result};

/// How an integral over `[0,1]` becomes a weighted sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuadratureRule {
    /// Gauss–Legendre: exact for polynomials of degree `2n − 1`.
    #[default]
    GaussLegendre,
    /// `(i + ½)/n`, all of weight `1/n`.
    RiemannMiddle,
    /// `i/n`, all of weight `1/n`.
    RiemannLeft,
    /// `(i + 1)/n`, all of weight `1/n`.
    RiemannRight,
    /// Captum's `riemann_trapezoid`: nodes `i/(n − 1)`, weights `1/n`, halved at both ends. They sum
    /// to `(n − 1)/n`, so even a linear function is integrated with that factor.
    RiemannTrapezoid,
    /// The trapezoidal rule: nodes `i/(n − 1)`, weights `1/(n − 1)`, halved at both ends.
    Trapezoid,
}

impl QuadratureRule {
    /// The nodes in `[0,1]`, ascending, and their weights.
    ///
    /// # Errors
    /// [`Error::Invalid`] for fewer `steps` than the rule needs (1, or 2 for the trapezoids).
    pub fn nodes(self, steps: usize) -> Result<Vec<(f64, f64)>> {
        let fewest = match self {
            Self::RiemannTrapezoid | Self::Trapezoid => 2,
            _ => 1,
        };
        if steps < fewest {
            return Err(Error::invalid(
                "integrated-gradients.steps",
                steps,
                format!("at least {fewest}"),
            ));
        }
        let n = steps as f64;
        let evenly = |offset: f64| (0..steps).map(move |i| ((i as f64 + offset) / n, 1.0 / n));
        let trapezoid = |step: f64| {
            (0..steps).map(move |i| {
                let end = i == 0 || i == steps - 1;
                (i as f64 / (n - 1.0), if end { 0.5 * step } else { step })
            })
        };
        Ok(match self {
            Self::GaussLegendre => gauss_legendre(steps),
            Self::RiemannMiddle => evenly(0.5).collect(),
            Self::RiemannLeft => evenly(0.0).collect(),
            Self::RiemannRight => evenly(1.0).collect(),
            Self::RiemannTrapezoid => trapezoid(1.0 / n).collect(),
            Self::Trapezoid => trapezoid(1.0 / (n - 1.0)).collect(),
        })
    }
}

/// Gauss–Legendre nodes on `[0,1]` and their weights: the roots of `P_n` by Newton's method from
/// Tricomi's asymptotic guess, and `w = 2/((1 − x²) P_n'(x)²)` (Abramowitz & Stegun 25.4.29).
fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    (0..n)
        .rev()
        .map(|i| {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (value, derivative) = legendre(n, x);
                slope = derivative;
                let step = value / derivative;
                x -= step;
                if step.abs() < 1e-15 {
                    break;
                }
            }
            (0.5 * (1.0 + x), 1.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

/// `P_n(x)` and `P_n'(x)` by the three-term recurrence, `n ≥ 1`, `|x| < 1`.
fn legendre(n: usize, x: f64) -> (f64, f64) {
    let (mut previous, mut current) = (1.0, x);
    for k in 2..=n {
        let k = k as f64;
        (previous, current) = (current, ((2.0 * k - 1.0) * x * current - (k - 1.0) * previous) / k);
    }
    (current, n as f64 * (x * current - previous) / (x * x - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integrate(rule: QuadratureRule, steps: usize, f: impl Fn(f64) -> f64) -> f64 {
        rule.nodes(steps).unwrap().into_iter().map(|(x, w)| w * f(x)).sum()
    }

    #[test]
    fn gauss_legendre_integrates_polynomials_of_degree_2n_minus_1() {
        for n in [1, 2, 3, 5, 20, 50, 301] {
            for degree in [0, n, 2 * n - 1] {
                let found = integrate(QuadratureRule::GaussLegendre, n, |x| x.powi(degree as i32));
                let exact = 1.0 / (degree as f64 + 1.0);
                // Rounding of n terms of order one.
                assert!((found - exact).abs() < 1e-14, "n {n}, degree {degree}: {found}");
            }
        }
    }

    #[test]
    fn gauss_legendre_of_two_and_three_nodes_are_the_tabulated_ones() {
        let two = QuadratureRule::GaussLegendre.nodes(2).unwrap();
        let x = 0.5 - 0.5 / 3f64.sqrt();
        assert!((two[0].0 - x).abs() < 1e-15 && (two[0].1 - 0.5).abs() < 1e-15);
        let three = QuadratureRule::GaussLegendre.nodes(3).unwrap();
        assert!((three[1].0 - 0.5).abs() < 1e-15 && (three[1].1 - 4.0 / 9.0).abs() < 1e-15);
    }

    #[test]
    fn rules_integrate_a_line_as_their_definitions_say() {
        let line = |x: f64| 2.0 * x;
        for (rule, exact) in [
            (QuadratureRule::RiemannLeft, 0.9),
            (QuadratureRule::RiemannRight, 1.1),
            (QuadratureRule::RiemannMiddle, 1.0),
            (QuadratureRule::Trapezoid, 1.0),
            (QuadratureRule::RiemannTrapezoid, 0.9),
        ] {
            let found = integrate(rule, 10, line);
            assert!((found - exact).abs() < 1e-14, "{rule:?}: {found}");
        }
    }

    #[test]
    fn too_few_steps_are_refused() {
        assert!(QuadratureRule::GaussLegendre.nodes(0).is_err());
        assert!(QuadratureRule::Trapezoid.nodes(1).is_err());
    }
}
