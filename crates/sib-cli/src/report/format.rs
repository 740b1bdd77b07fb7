//! Numbers as the page shows them.

/// Two digits after the point, as of percentages; a dash where there is no value.
pub(super) fn fixed(value: Option<f64>) -> String {
    value.map_or_else(dash, |value| format!("{value:.2}"))
}

/// Four significant digits at any magnitude; a dash where there is no value.
pub(super) fn significant(value: Option<f64>) -> String {
    let Some(value) = value else { return dash() };
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    if !(-3.0..6.0).contains(&magnitude) {
        return minus(&format!("{value:.2e}"));
    }
    let digits = (3.0 - magnitude).max(0.0) as usize;
    minus(&format!("{value:.digits$}"))
}

/// A value with as many digits after the point as give two of its standard error, and that error.
pub(super) fn with_error(value: Option<f64>, error: Option<f64>) -> (String, Option<String>) {
    match (value, error) {
        (Some(value), Some(error)) if error > 0.0 => {
            let digits = (1.0 - error.log10().floor()).clamp(0.0, 12.0) as usize;
            (minus(&format!("{value:.digits$}")), Some(format!("{error:.digits$}")))
        }
        _ => (significant(value), error.map(|error| significant(Some(error)))),
    }
}

/// A count and its noun.
pub(super) fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// What stands for no value.
pub(super) fn dash() -> String {
    "–".to_owned()
}

/// The minus sign, where a hyphen stands for it.
fn minus(text: &str) -> String {
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_four_significant_digits() {
        let shown = [83.221, 0.0316, -0.00123456, 5.8059e-8, 12345.6, 0.0]
            .map(|value| significant(Some(value)));
        assert_eq!(shown, ["83.22", "0.03160", "−0.001235", "5.81e−8", "12346", "0"]);
        assert_eq!((significant(None), fixed(None)), (dash(), dash()));
    }

    #[test]
    fn the_error_says_how_many_digits_its_value_has() {
        let shown = |value, error| with_error(Some(value), error);
        assert_eq!(shown(-8.3612e-4, Some(2.099e-4)), ("−0.00084".into(), Some("0.00021".into())));
        assert_eq!(shown(4.27123, Some(12.3)), ("4".into(), Some("12".into())));
        assert_eq!(shown(0.5, Some(0.0)), ("0.5000".into(), Some("0".into())));
        assert_eq!(shown(0.5, None), ("0.5000".into(), None));
    }
}
