//! The numbers along an axis.

/// What an axis is of.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AxisOptions {
    /// What runs along it, with its unit; `_{...}` is a subscript.
    pub label: String,
    /// Its ends; unset: those of the data.
    pub range: Option<(f64, f64)>,
    /// Whether only whole numbers have a meaning, as of epochs.
    pub whole: bool,
}

impl AxisOptions {
    /// An axis that takes its range from the data.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }
}

/// An axis with its ticks.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub low: f64,
    pub high: f64,
    pub ticks: Vec<f64>,
    /// Tick labels are multiples of this power of ten.
    exponent: i32,
    decimals: usize,
}

impl Axis {
    /// From `low` to `high`, with about `wanted` ticks at round numbers. A `loose` axis is made
    /// longer, so that it begins and ends at a tick.
    pub fn new((low, high): (f64, f64), wanted: usize, whole: bool, loose: bool) -> Self {
        let (low, high) = widened(low, high);
        let mut step = round_step((high - low) / wanted as f64);
        if whole {
            step = step.max(1.0).round();
        }
        // A range that ends at a tick but for rounding ends there.
        let slack = 1e-6;
        let (first, last) = if loose {
            ((low / step + slack).floor(), (high / step - slack).ceil())
        } else {
            ((low / step - slack).ceil(), (high / step + slack).floor())
        };
        let ticks: Vec<f64> =
            (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect();
        let (low, high) = if loose { (first * step, last * step) } else { (low, high) };
        let largest = low.abs().max(high.abs());
        let magnitude = largest.log10().floor() as i32;
        let exponent = if (-2..5).contains(&magnitude) { 0 } else { magnitude };
        let decimals = (f64::from(exponent) - step.log10() - slack).ceil().max(0.0) as usize;
        // A step of 2.5 has one digit more than its magnitude says.
        let leading = step / 10f64.powf(step.log10().floor());
        let decimals = decimals + usize::from((leading - 2.5).abs() < slack && decimals > 0);
        Self { low, high, ticks, exponent, decimals }
    }

    /// The label of a tick.
    pub fn tick_label(&self, value: f64) -> String {
        self.number(value, self.decimals)
    }

    /// A value with so many digits more than the ticks have.
    pub fn finer_label(&self, value: f64, digits: usize) -> String {
        self.number(value, self.decimals + digits)
    }

    fn number(&self, value: f64, decimals: usize) -> String {
        let scaled = value / 10f64.powi(self.exponent);
        // No negative zero, and a real minus sign.
        let scaled = if scaled.abs() < 1e-9 { 0.0 } else { scaled };
        format!("{scaled:.decimals$}").replace('-', "−")
    }

    /// The factor that all tick labels share, as `×10⁻³`; none where it is 1.
    pub fn factor(&self) -> Option<String> {
        let digits = |text: String| -> String {
            text.chars()
                .map(|char| match char {
                    '-' => '⁻',
                    '1' => '¹',
                    '2' => '²',
                    '3' => '³',
                    digit => {
                        char::from_u32(digit as u32 - '0' as u32 + '⁰' as u32).unwrap_or(digit)
                    }
                })
                .collect()
        };
        (self.exponent != 0).then(|| format!("×10{}", digits(self.exponent.to_string())))
    }

    /// Where a value stands between `start` (the low end) and `end`.
    pub fn position(&self, value: f64, start: f64, end: f64) -> f64 {
        start + (value - self.low) / (self.high - self.low) * (end - start)
    }
}

/// A range with some length.
fn widened(low: f64, high: f64) -> (f64, f64) {
    // A range of rounding, or of numbers that have hardly any digits left, has no ticks.
    let largest = low.abs().max(high.abs());
    if high - low > 1e-12 * largest && largest > 1e-290 {
        (low, high)
    } else if largest <= 1e-290 {
        (0.0, 1.0)
    } else {
        (low - 0.05 * low.abs(), low + 0.05 * low.abs())
    }
}

/// 1, 2, 2.5 or 5 times a power of ten, at least about `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|factor| factor * power >= 0.99 * least);
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(range: (f64, f64), whole: bool, loose: bool) -> Vec<String> {
        let axis = Axis::new(range, 5, whole, loose);
        axis.ticks.iter().map(|&tick| axis.tick_label(tick)).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels((0.0, 100.0), false, true), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels((0.03, 0.97), false, true), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels((-0.3, 0.3), false, false), ["−0.2", "0.0", "0.2"]);
        assert_eq!(
            labels((0.0, 0.123), false, true),
            ["0.000", "0.025", "0.050", "0.075", "0.100", "0.125"]
        );
        assert_eq!(labels((0.0158, 0.0163), false, true)[..2], ["0.0158", "0.0159"]);
    }

    #[test]
    fn epochs_are_whole() {
        assert_eq!(labels((1.0, 3.0), true, false), ["1", "2", "3"]);
        assert_eq!(labels((1.0, 90.0), true, false), ["20", "40", "60", "80"]);
    }

    #[test]
    fn small_numbers_share_a_factor() {
        let axis = Axis::new((0.0, 3.9e-4), 4, false, true);
        assert_eq!(axis.factor().as_deref(), Some("×10⁻⁴"));
        assert_eq!((axis.tick_label(1e-4), axis.high), ("1".to_owned(), 4e-4));
        assert_eq!(Axis::new((0.0, 0.02), 4, false, true).factor(), None);
        assert_eq!(Axis::new((0.0, 2e6), 4, false, true).factor().as_deref(), Some("×10⁶"));
    }

    #[test]
    fn one_value_gets_an_axis() {
        for value in [0.0, 7.0, -2.0] {
            let axis = Axis::new((value, value), 5, false, true);
            assert!(axis.low <= value && value <= axis.high && axis.ticks.len() > 1, "{axis:?}");
        }
    }
}
