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
}
