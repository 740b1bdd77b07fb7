//! Student's t distribution, for the paired difference over seeds.

/// Two-sided p-value of a t statistic with `degrees` degrees of freedom: the chance of a value at
/// least as far from zero where there is no difference. In [0, 1].
pub fn two_sided_p(t: f64, degrees: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    regularised_beta(degrees / (degrees + t * t), degrees / 2.0, 0.5)
}

/// I_x(a, b) by its continued fraction (DLMF 8.17.22), evaluated with Lentz's algorithm.
fn regularised_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction converges fast below this point; the other side follows by symmetry.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - regularised_beta(1.0 - x, b, a);
    }
    let ln_front =
        a * x.ln() + b * (1.0 - x).ln() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) - a.ln();
    let guarded = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut c, mut d) = (1.0, guarded(1.0 - (a + b) * x / (a + 1.0)).recip());
    let mut fraction = d;
    for m in 1..500 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = guarded(1.0 + term * d).recip();
            c = guarded(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (ln_front.exp() * fraction).clamp(0.0, 1.0)
}

/// ln Γ(x) of a positive x: Stirling's series (DLMF 5.11.1) after x is moved up by the recurrence.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 16.0 {
        shift += x.ln();
        x += 1.0;
    }
    let square = (x * x).recip();
    let series = [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0];
    let tail = series.iter().rev().fold(0.0, |sum, term| sum * square + term) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + tail - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_degrees_of_freedom_in_closed_form() {
        use std::f64::consts::PI;
        for t in [0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 40.0] {
            // One degree is the Cauchy distribution.
            let cauchy = 1.0 - 2.0 * f64::atan(t) / PI;
            assert!((two_sided_p(t, 1.0) - cauchy).abs() < 1e-13, "{t}");
            let two = 1.0 - t / (2.0 + t * t).sqrt();
            assert!((two_sided_p(t, 2.0) - two).abs() < 1e-13, "{t}");
            let three =
                1.0 - 2.0 / PI * ((t / 3f64.sqrt()).atan() + t * 3f64.sqrt() / (3.0 + t * t));
            assert!((two_sided_p(-t, 3.0) - three).abs() < 1e-13, "{t}");
        }
        assert_eq!(two_sided_p(f64::INFINITY, 4.0), 0.0);
    }

    #[test]
    fn many_degrees_of_freedom_approach_the_normal_distribution() {
        // 2·(1 − Φ(1.959964)) = 0.05; the difference falls as 1/degrees.
        assert!((two_sided_p(1.959_963_985, 1e7) - 0.05).abs() < 1e-7);
    }

    #[test]
    fn ln_gamma_of_whole_and_half_numbers() {
        assert!((ln_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-14);
        assert!((ln_gamma(6.0) - 120f64.ln()).abs() < 1e-13);
    }
}
