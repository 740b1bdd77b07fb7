//! The key or name that a user may have meant.

/// How alike two last parts of keys must be, from 0 to 1.
const ALIKE: f64 = 0.6;

/// The one of `known` dotted keys that is most like `wanted`; none where none is.
///
/// `train.lr` finds `train.optimizer.learning_rate`: the same last part, its initials, or letters
/// changed, in this order; among these the key whose whole is most alike.
pub fn key<'k>(wanted: &str, known: &'k [String]) -> Option<&'k str> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let name = last(wanted);
    let score = |key: &str| {
        let other = last(key);
        let initials: String = other.split('_').filter_map(|word| word.chars().next()).collect();
        let alike = match strsim::normalized_damerau_levenshtein(&name, &other) {
            _ if other == name => 2.0,
            _ if initials == name && name.len() > 1 => 1.5,
            alike if alike >= ALIKE => alike,
            _ => return None,
        };
        Some(alike + 0.1 * strsim::jaro_winkler(wanted, key))
    };
    // Tables are meant as well as what is in them.
    let tables = known.iter().flat_map(|key| key.match_indices('.').map(|(at, _)| &key[..at]));
    let keys = known.iter().map(String::as_str).chain(tables);
    let scored = keys.filter_map(|key| Some((score(key)?, key)));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_and_nothing_is_made_up() {
        let known = [
            "train.optimizer.learning_rate",
            "train.optimizer.weight_decay",
            "train.batch_size",
            "train.epochs",
            "train.seed",
            "data.synthetic.seed",
        ]
        .map(str::to_owned);
        for (wanted, meant) in [
            ("train.lr", Some("train.optimizer.learning_rate")),
            ("train.learning_rate", Some("train.optimizer.learning_rate")),
            ("train.epoch", Some("train.epochs")),
            ("epochs", Some("train.epochs")),
            ("train.bs", Some("train.batch_size")),
            ("train.optimizer.wd", Some("train.optimizer.weight_decay")),
            ("train.sede", Some("train.seed")),
            ("train.optimiser", Some("train.optimizer")),
            ("trian", Some("train")),
            ("train.colour", None),
            ("", None),
        ] {
            assert_eq!(key(wanted, &known), meant, "{wanted}");
        }
    }
}
