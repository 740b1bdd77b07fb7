//! Rules that turn a heatmap into a binary mask.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sib_core::Error;

use crate::heatmap::Heatmap;
use crate::rank::descending_order;

/// Which pixels of a heatmap are foreground, after min-max normalisation to [0, 1] per image.
///
/// A flat map has no foreground under any rule. In configuration files and on the command line a
/// rule is written `fixed(0.5)`, or 0.5 alone, `mean`, `otsu` or `top(0.2)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Threshold {
    /// Above a value in [0, 1).
    Fixed(f64),
    /// Above the map's mean.
    Mean,
    /// Above Otsu's threshold (1979, doi:10.1109/TSMC.1979.4310076): the centre of the bin, of 256,
    /// that maximises the variance between the classes on its two sides.
    Otsu,
    /// The highest pixels, this fraction in (0, 1] of all (rounded); ties by pixel index.
    Top(f64),
}

impl Default for Threshold {
    fn default() -> Self {
        Self::Fixed(0.5)
    }
}

impl Threshold {
    /// True where foreground.
    pub(crate) fn apply(self, heatmap: &Heatmap<'_>) -> Vec<bool> {
        let above = |threshold: f64| heatmap.normalised().map(|v| v > threshold).collect();
        match self {
            _ if heatmap.is_flat() => vec![false; heatmap.values.len()],
            Self::Fixed(threshold) => above(threshold),
            Self::Mean => above(heatmap.normalised().sum::<f64>() / heatmap.values.len() as f64),
            Self::Otsu => above(otsu(heatmap.normalised())),
            Self::Top(frac) => {
                let count = (frac * heatmap.values.len() as f64).round() as usize;
                let mut mask = vec![false; heatmap.values.len()];
                let order = descending_order(heatmap.values);
                order[..count].iter().for_each(|&i| mask[i as usize] = true);
                mask
            }
        }
    }
}

/// Otsu's threshold of values in [0, 1] that are not all equal.
fn otsu(values: impl Iterator<Item = f64>) -> f64 {
    const BINS: usize = 256;
    let mut histogram = [0u32; BINS];
    for value in values {
        histogram[((value * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    // Pixels of each bin, and the bin's centre.
    let bins = histogram
        .iter()
        .zip(0u32..)
        .map(|(&count, bin)| (f64::from(count), (f64::from(bin) + 0.5) / BINS as f64));
    let (total, total_sum) = bins
        .clone()
        .fold((0.0, 0.0), |(n, sum), (count, centre)| (n + count, sum + count * centre));

    let (mut below, mut below_sum) = (0.0, 0.0);
    let (mut best, mut threshold) = (f64::NEG_INFINITY, 0.0);
    for (count, centre) in bins.take(BINS - 1) {
        below += count;
        below_sum += count * centre;
        let above = total - below;
        // The range ends in the first and the last bin, so that neither class is ever empty.
        let distance = below_sum / below - (total_sum - below_sum) / above;
        let between = below * above * distance * distance;
        if between > best {
            (best, threshold) = (between, centre);
        }
    }
    threshold
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(value) => write!(f, "fixed({value})"),
            Self::Mean => f.write_str("mean"),
            Self::Otsu => f.write_str("otsu"),
            Self::Top(frac) => write!(f, "top({frac})"),
        }
    }
}

impl FromStr for Threshold {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let argument = |name: &str| -> Option<f64> {
            text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')?.trim().parse().ok()
        };
        let rule = match text {
            "mean" => Some(Self::Mean),
            "otsu" => Some(Self::Otsu),
            _ => (argument("fixed").or_else(|| text.trim().parse().ok()))
                .filter(|value| (0.0..1.0).contains(value))
                .map(Self::Fixed)
                .or_else(|| {
                    argument("top").filter(|&frac| frac > 0.0 && frac <= 1.0).map(Self::Top)
                }),
        };
        rule.ok_or_else(|| {
            let expected = "a number 0 <= t < 1, fixed(t), mean, otsu or top(0 < f <= 1)";
            Error::invalid("threshold", text, expected)
        })
    }
}

impl TryFrom<String> for Threshold {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Threshold> for String {
    fn from(rule: Threshold) -> Self {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_they_are_read() {
        for text in ["fixed(0.5)", "fixed(0)", "mean", "otsu", "top(0.2)", "top(1)"] {
            assert_eq!(text.parse::<Threshold>().unwrap().to_string(), text);
        }
        for text in ["", "fixed", "fixed(1)", "fixed(-0.1)", "fixed(nan)", "top(0)", "top(1.5)"] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_alone_is_a_fixed_threshold() {
        for (text, value) in [("0.3", 0.3), ("0", 0.0), (".25", 0.25), ("5e-1", 0.5)] {
            assert_eq!(text.parse::<Threshold>().unwrap(), Threshold::Fixed(value), "{text}");
        }
        for text in ["1", "1.5", "-0.1", "nan", "inf", "30%", "0,3"] {
            let message = text.parse::<Threshold>().unwrap_err().to_string();
            assert!(message.contains("a number 0 <= t < 1"), "{text}: {message}");
        }
    }

    #[test]
    fn rules_on_a_map_by_hand() {
        // Normalised: 0, 0.1, 0.2, 0.9, 1, 0.9; mean 0.517.
        let map = [-1.0, 0.0, 1.0, 8.0, 9.0, 8.0];
        let heatmap = Heatmap::new(&map).unwrap();
        let count = |rule: Threshold| rule.apply(&heatmap).into_iter().filter(|&p| p).count();
        assert_eq!(Threshold::Fixed(0.15).apply(&heatmap), [false, false, true, true, true, true]);
        assert_eq!(count(Threshold::Fixed(0.95)), 1);
        assert_eq!(count(Threshold::Mean), 3);
        assert_eq!(count(Threshold::Otsu), 3);
        // Two of six; the tie of 8 and 8 goes to the first.
        assert_eq!(Threshold::Top(0.3).apply(&heatmap), [false, false, false, true, true, false]);
    }

    #[test]
    fn a_flat_map_has_no_foreground() {
        let heatmap = Heatmap::new(&[0.7; 9]).unwrap();
        for rule in [Threshold::Fixed(0.0), Threshold::Mean, Threshold::Otsu, Threshold::Top(0.5)] {
            assert_eq!(rule.apply(&heatmap), [false; 9]);
        }
    }
}
