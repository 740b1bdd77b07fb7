//! Numbers as tables show them.

/// p-values below it are of differences that hold.
pub const HOLDS: f64 = 0.05;

/// A number with its sign; none before what rounds to zero.
pub fn signed(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    match (is_zero, value < 0.0) {
        (true, _) => text,
        (false, true) => format!("−{text}"),
        (false, false) => format!("+{text}"),
    }
}

/// `p = 0.012`, or `p < 0.001`: a probability is not zero.
pub fn p_value(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_carries_its_sign_unless_it_rounds_to_zero() {
        let texts = [1.5, -1.5, 0.004, -0.004, 0.0].map(|value| signed(value, 2));
        assert_eq!(texts, ["+1.50", "−1.50", "0.00", "0.00", "0.00"]);
    }

    #[test]
    fn a_p_value_never_rounds_to_zero() {
        let texts = [0.5, 0.001, 0.0004, 1e-30].map(p_value);
        assert_eq!(texts, ["p = 0.500", "p = 0.001", "p < 0.001", "p < 0.001"]);
    }
}
