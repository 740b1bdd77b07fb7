//! The best evaluation of a training so far.

use std::collections::BTreeMap;

use super::FitConfig;

/// Value of [`FitConfig::best_metric`] and when it was reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// The value.
    pub value: f64,
    /// Epochs trained by then.
    pub epochs: u64,
}

const VALUE: &str = "best_value";
const EPOCHS: &str = "best_epochs";

impl Best {
    /// Whether it is so long ago after `epochs` epochs that training ends.
    pub(super) fn is_stale(self, config: &FitConfig, epochs: u64) -> bool {
        config.early_stop_epochs.is_some_and(|patience| epochs >= self.epochs + patience)
    }

    /// As text that parses back to the same bits.
    pub(super) fn state(self) -> [(String, String); 2] {
        [(VALUE.to_owned(), self.value.to_string()), (EPOCHS.to_owned(), self.epochs.to_string())]
    }

    /// The inverse of [`Self::state`]; none where nothing was evaluated before the state was saved.
    pub(super) fn from_state(text: &BTreeMap<String, String>) -> Option<Self> {
        let value = text.get(VALUE)?.parse().ok()?;
        let epochs = text.get(EPOCHS)?.parse().ok()?;
        Some(Self { value, epochs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_ends_when_patience_does() {
        let config = FitConfig { early_stop_epochs: Some(2), ..FitConfig::default() };
        let best = Best { value: 1.0 / 3.0, epochs: 4 };
        assert_eq!([5, 6, 7].map(|epochs| best.is_stale(&config, epochs)), [false, true, true]);
        assert!(!best.is_stale(&FitConfig::default(), 90));
        let text = best.state().into_iter().collect();
        assert_eq!(Best::from_state(&text), Some(best));
    }
}
