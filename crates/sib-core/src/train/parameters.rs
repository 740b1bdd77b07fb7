//! Which parameters are trained and how fast, by prefixes of their state-dict keys.

use std::collections::{BTreeMap, BTreeSet};

use tch::Tensor;

use crate::{Error, Result};

/// Ends the training of the `variables` (by state-dict key, not copies) within `prefixes`: they no longer
/// require a gradient. A prefix is made of whole names: `layer1` holds `layer1.0.conv1.weight`, not
/// `layer10.weight`.
///
/// Derivatives with respect to images still go through them. What else a network makes of it is its
/// own affair: those of `sib-models` let a frozen batch normalisation use and keep its running statistics
/// (decision G8).
///
/// # Errors
/// [`Error::Invalid`] where a prefix holds none, with those that there are, or where nothing is left to
/// train; nothing is frozen then.
pub fn freeze(variables: &BTreeMap<String, Tensor>, prefixes: &[String]) -> Result<()> {
    for prefix in prefixes {
        expect_known("freeze", prefix, variables.keys())?;
    }
    let is_frozen = |key: &str| prefixes.iter().any(|prefix| holds(prefix, key));
    let (frozen, others): (Vec<_>, Vec<_>) = variables.iter().partition(|(key, _)| is_frozen(key));
    if !others.iter().any(|(_, variable)| variable.requires_grad()) {
        return Err(Error::invalid("freeze", "every parameter", "something left to train"));
    }
    for (_, variable) in frozen {
        let _ = variable.set_requires_grad(false);
    }
    Ok(())
}

/// Whether the variable `key` is within `prefix`.
pub(super) fn holds(prefix: &str, key: &str) -> bool {
    key.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Checks that `prefix`, given for the setting `name`, holds one of the `keys`.
pub(super) fn expect_known<'k>(
    name: &str,
    prefix: &str,
    keys: impl Iterator<Item = &'k String> + Clone,
) -> Result<()> {
    if keys.clone().any(|key| holds(prefix, key)) {
        return Ok(());
    }
    // What is there in its place: beside the longest beginning of it that is known.
    let mut known = prefix;
    while !known.is_empty() && !keys.clone().any(|key| holds(known, key)) {
        known = known.rsplit_once('.').map_or("", |(parent, _)| parent);
    }
    let children = keys.filter_map(|key| {
        let rest =
            if known.is_empty() { key } else { key.strip_prefix(known)?.strip_prefix('.')? };
        let child = rest.split('.').next().unwrap_or_default();
        Some(if known.is_empty() { child.to_owned() } else { format!("{known}.{child}") })
    });
    let children: Vec<String> = children.collect::<BTreeSet<_>>().into_iter().collect();
    Err(Error::invalid(name, prefix, format!("one of {}", children.join(", "))))
}

/// The factor of the learning rate of the variable `key`: that of the longest prefix that holds it, 1
/// where none does.
pub(super) fn factor(factors: &BTreeMap<String, f64>, key: &str) -> f64 {
    let holding = factors.iter().filter(|(prefix, _)| holds(prefix, key));
    holding.max_by_key(|(prefix, _)| prefix.len()).map_or(1.0, |(_, &factor)| factor)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn variables() -> BTreeMap<String, Tensor> {
        let trained = [
            "conv1.weight",
            "layer1.0.conv1.weight",
            "layer1.1.bn.bias",
            "layer10.weight",
            "fc.weight",
        ];
        let variable = |key: &str| {
            let tensor = Tensor::zeros([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
            (key.to_owned(), tensor)
        };
        let mut variables: BTreeMap<_, _> = trained.map(variable).into();
        let count = Tensor::zeros([0; 0], (Kind::Int64, Device::Cpu));
        variables.insert("layer1.1.bn.num_batches_tracked".to_owned(), count);
        variables
    }

    fn frozen(prefixes: &[&str]) -> Result<Vec<String>> {
        let variables = variables();
        let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        let result = freeze(&variables, &prefixes);
        let still = variables.into_iter().filter(|(_, variable)| !variable.requires_grad());
        let still: Vec<String> = still.map(|(key, _)| key).collect();
        if result.is_err() {
            assert_eq!(still, ["layer1.1.bn.num_batches_tracked"], "nothing is frozen by halves");
        }
        result.map(|()| still)
    }

    #[test]
    fn a_prefix_holds_whole_names() {
        let layer1 =
            ["layer1.0.conv1.weight", "layer1.1.bn.bias", "layer1.1.bn.num_batches_tracked"];
        assert_eq!(frozen(&["layer1"]).unwrap(), layer1);
        assert_eq!(
            frozen(&["layer1.0", "fc.weight"]).unwrap(),
            ["fc.weight", layer1[0], layer1[2]]
        );
    }

    #[test]
    fn an_unknown_prefix_is_refused_with_those_there_are() {
        let refused = |prefix| frozen(&["fc", prefix]).unwrap_err().to_string();
        let top = "expected one of conv1, fc, layer1, layer10";
        assert_eq!(refused("layer2"), format!("freeze: got layer2, {top}"));
        assert_eq!(refused("layer"), format!("freeze: got layer, {top}"));
        assert_eq!(refused("features.0"), format!("freeze: got features.0, {top}"));
        assert_eq!(
            refused("layer1.7.conv1"),
            "freeze: got layer1.7.conv1, expected one of layer1.0, layer1.1"
        );
        let all = frozen(&["conv1", "layer1", "layer10", "fc"]).unwrap_err().to_string();
        assert_eq!(all, "freeze: got every parameter, expected something left to train");
    }

    #[test]
    fn the_longest_prefix_sets_the_rate() {
        let factors = [("layer1", 2.0), ("layer1.1.bn", 0.5)].map(|(key, it)| (key.to_owned(), it));
        let of = |key| factor(&factors.clone().into(), key);
        assert_eq!([of("layer1.0.conv1.weight"), of("layer1.1.bn.bias")], [2.0, 0.5]);
        assert_eq!([of("layer10.weight"), of("fc.weight")], [1.0, 1.0]);
    }
}
