//! The best evaluation of a run so far.

use std::collections::BTreeMap;

use sib_core::train::TrainConfig;

/// Value of [`TrainConfig::best_metric`] and when it was reached.
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
    /// Whether training ends early after `epochs` epochs.
    pub fn ends(best: Option<Self>, config: &TrainConfig, epochs: u64) -> bool {
        let patience = config.early_stop_epochs;
        best.zip(patience).is_some_and(|(best, patience)| epochs >= best.epochs + patience)
    }

    /// As text that parses back to the same bits.
    pub fn state(&self) -> [(String, String); 2] {
        [(VALUE.to_owned(), self.value.to_string()), (EPOCHS.to_owned(), self.epochs.to_string())]
    }

    /// The inverse of [`Self::state`]; none where nothing was evaluated before the state was saved.
    pub fn from_state(text: &BTreeMap<String, String>) -> Option<Self> {
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
        let config = TrainConfig { early_stop_epochs: Some(2), ..TrainConfig::default() };
        let reached = Best { value: 1.0 / 3.0, epochs: 4 };
        let best = Some(reached);
        assert_eq!([5, 6, 7].map(|epochs| Best::ends(best, &config, epochs)), [false, true, true]);
        assert!(!Best::ends(None, &config, 90));
        assert!(!Best::ends(best, &TrainConfig::default(), 90));
        let text = reached.state().into_iter().collect();
        assert_eq!(Best::from_state(&text), best);
    }
}
