//! Which of a file's tensors are the network: of its dicts the one, and of the prefixes that wrappers put
//! before keys the one, under which all of the network is there.

use std::collections::{BTreeMap, HashMap};

use super::contents::{Dict, Entry};
use super::keys;
use super::problem::Problem;
use super::refusal::Refusal;
use crate::blueprint::Blueprint;

/// Names of nested dicts that hold the network as it is trained, most usual first.
const USUAL_NAMES: [&str; 8] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "network",
    "net",
    "module",
    "weights",
];
/// Parts of names of averages beside it.
const AVERAGES: [&str; 4] = ["ema", "swa", "average", "averaged"];
/// What wrappers put before every key, where no key says of which network it is.
const WRAPPER_PREFIXES: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// A network in a file.
#[derive(Debug)]
pub(super) struct Candidate<'c> {
    pub(super) dict: &'c Dict,
    /// Ends in a full stop, where it is not empty.
    prefix: String,
    /// Today's keys without the prefix, and the dict's own.
    pub(super) names: BTreeMap<String, &'c str>,
    /// How many of the network's tensors are there in their shape.
    pub(super) fits: usize,
    /// Whether all are, but perhaps the head.
    complete: bool,
    /// Why its keys cannot be told apart.
    problem: Option<Problem>,
}

impl<'c> Candidate<'c> {
    fn new(dict: &'c Dict, prefix: String, network: &Blueprint) -> Self {
        let keys = dict
            .entries
            .keys()
            .filter_map(|key| Some((key.strip_prefix(prefix.as_str())?, key.as_str())));
        let (names, problem) = keys::today(keys, network.arch());
        let mut candidate = Self { dict, prefix, names, fits: 0, complete: false, problem };
        let fit = network.fit(&|name| candidate.entry(name).map(Entry::size));
        (candidate.fits, candidate.complete) = (fit.number, fit.complete);
        candidate
    }

    /// The value under the network's key `name`.
    pub(super) fn entry(&self, name: &str) -> Option<&'c Entry> {
        self.dict.entries.get(*self.names.get(name)?)
    }

    /// The path to its tensors, as `Selection::key` takes it; empty where they are
    /// the file's own.
    pub(super) fn path(&self) -> String {
        let prefix = self.prefix.trim_end_matches('.');
        match (self.dict.name.is_empty(), prefix.is_empty()) {
            (true, _) => prefix.to_owned(),
            (_, true) => self.dict.name.clone(),
            _ => format!("{}.{prefix}", self.dict.name),
        }
    }

    /// Keys of the dict beside the prefix.
    pub(super) fn beside(&self) -> impl Iterator<Item = &'c String> {
        self.dict.entries.iter().filter_map(|(key, entry)| {
            let is_tensor = !matches!(entry, Entry::Opaque(_));
            (is_tensor && !key.starts_with(&self.prefix)).then_some(key)
        })
    }

    /// How usual a place it is in, less is more: a training checkpoint has stray tensors beside its state
    /// dict, and averages of the weights.
    fn rank(&self) -> usize {
        let path = self.dict.name.as_str();
        let last = path.rsplit('.').next().unwrap_or_default();
        let usual = USUAL_NAMES.iter().position(|name| *name == last);
        let is_average = path.split(['.', '_']).any(|part| AVERAGES.contains(&part));
        match usual {
            _ if is_average => USUAL_NAMES.len() + 2,
            Some(place) => place,
            None if path.is_empty() => USUAL_NAMES.len(),
            None => USUAL_NAMES.len() + 1,
        }
    }

    /// Whether its keys lie on the way to those of `other`, as a network's to those of a part of it.
    fn is_above(&self, other: &Self) -> bool {
        std::ptr::eq(self.dict, other.dict) && other.prefix.starts_with(&self.prefix)
    }

    /// Whether both are the same tensors.
    fn equals(&self, other: &Self, network: &Blueprint) -> bool {
        network.names().all(|name| match (self.entry(name), other.entry(name)) {
            (Some(one), Some(other)) => one.equals(other),
            (one, other) => one.is_none() && other.is_none(),
        })
    }

    /// Whether `Selection::key` means it by `key`: its path, the end or the beginning of that.
    fn is_meant_by(&self, key: &str) -> bool {
        let path = self.path();
        path == key
            || path.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'))
            || path.strip_suffix(key).is_some_and(|rest| rest.ends_with('.'))
    }
}

/// The network of a file, and the paths of others that fit as well.
#[derive(Debug)]
pub(super) struct Choice<'c> {
    pub(super) candidate: Candidate<'c>,
    pub(super) also: Vec<String>,
}

/// Chooses from `dicts` what `key` names, otherwise what is complete and in the most usual place; where
/// nothing is complete, what comes nearest.
///
/// # Errors
/// `key` names nothing, or several networks fit and neither place nor `key` says which is meant.
pub(super) fn choose<'c>(
    dicts: &'c [Dict],
    network: &Blueprint,
    key: Option<&str>,
) -> Result<Choice<'c>, Refusal> {
    let mut candidates = candidates(dicts, network, key);
    if candidates.is_empty() {
        let key = key.unwrap_or_default();
        let there: Vec<_> = dicts.iter().map(|dict| dict.name.as_str()).collect();
        let problem = format!("has no tensors under {key:?}; it has dicts of tensors {there:?}");
        return Err(problem.into());
    }
    let (complete, incomplete): (Vec<_>, Vec<_>) =
        candidates.drain(..).partition(|candidate| candidate.complete);
    let (candidate, also) = if complete.is_empty() {
        (nearest(incomplete), Vec::new())
    } else {
        meant(complete, network, key)?
    };
    match candidate.problem {
        Some(problem) => Err(problem.into()),
        None => Ok(Choice { candidate, also }),
    }
}

/// Every dict with every prefix that enough keys have; those that `key` means, where it is given.
fn candidates<'c>(dicts: &'c [Dict], network: &Blueprint, key: Option<&str>) -> Vec<Candidate<'c>> {
    let enough = network.names().count() / 2;
    let mut all = Vec::new();
    for dict in dicts {
        for prefix in prefixes(dict, enough) {
            let candidate = Candidate::new(dict, prefix, network);
            if key.is_none_or(|key| candidate.is_meant_by(key)) {
                all.push(candidate);
            }
        }
    }
    all
}

/// The prefixes of at least `enough` keys of `dict`, the empty one first, and what all of them share of
/// wrappers.
fn prefixes(dict: &Dict, enough: usize) -> Vec<String> {
    let mut found = vec![String::new()];
    if dict.entries.len() >= enough {
        let mut keys_under: HashMap<&str, usize> = HashMap::new();
        for key in dict.entries.keys() {
            for (stop, _) in key.match_indices('.') {
                *keys_under.entry(&key[..=stop]).or_default() += 1;
            }
        }
        let mut enough: Vec<_> =
            keys_under.into_iter().filter(|(_, keys)| *keys >= enough).map(|(p, _)| p).collect();
        enough.sort_unstable();
        found.extend(enough.into_iter().map(str::to_owned));
    }
    let wrapper = shared_wrapper(dict);
    if !found.contains(&wrapper) {
        found.push(wrapper);
    }
    found
}

/// The prefixes of wrappers that every key has, one after the other.
fn shared_wrapper(dict: &Dict) -> String {
    let mut shared = String::new();
    while let Some(prefix) = WRAPPER_PREFIXES.into_iter().find(|prefix| {
        let longer = format!("{shared}{prefix}");
        dict.entries.keys().all(|key| key.starts_with(&longer))
    }) {
        shared += prefix;
    }
    shared
}

/// Of complete candidates the one that is meant, and the paths of the others.
fn meant<'c>(
    mut complete: Vec<Candidate<'c>>,
    network: &Blueprint,
    key: Option<&str>,
) -> Result<(Candidate<'c>, Vec<String>), Refusal> {
    // Exactly what `key` says goes before what lies below it.
    let exact = |candidate: &Candidate| key.is_none_or(|key| candidate.path() == key);
    complete.sort_by_key(|candidate| (!exact(candidate), candidate.rank(), candidate.path().len()));
    let place = |candidate: &Candidate| (exact(candidate), candidate.rank());
    let first = &complete[0];
    let rivals = || complete[1..].iter().filter(|other| place(other) == place(first));
    let is_first = |other: &Candidate| first.is_above(other) || first.equals(other, network);
    if !rivals().all(is_first) {
        let paths: Vec<_> = [first].into_iter().chain(rivals()).map(Candidate::path).collect();
        let arch = network.arch();
        let problem = format!("holds more than one network that fits {arch}: {paths:?}");
        return Err(Refusal::undecided(problem, "key", "NAME"));
    }
    let mut rest = complete.into_iter();
    let first = rest.next().expect("one at least is complete");
    Ok((first, rest.map(|candidate| candidate.path()).collect()))
}

/// Of incomplete candidates the one with most of the network. Where nothing fits at all, that in the most
/// usual place, without the prefix of wrappers.
fn nearest(incomplete: Vec<Candidate<'_>>) -> Candidate<'_> {
    let order = |candidate: &Candidate| {
        let wrapped = candidate.prefix == shared_wrapper(candidate.dict);
        (candidate.fits, std::cmp::Reverse(candidate.rank()), wrapped)
    };
    incomplete.into_iter().max_by_key(order).expect("one at least")
}

#[cfg(test)]
mod tests {
    use sib_core::Error;
    use tch::Tensor;

    use super::*;
    use crate::Arch;

    fn resnet18() -> &'static Blueprint {
        Blueprint::of_arch(Arch::ResNet18)
    }

    /// A dict called `name` that holds a ResNet-18 of `value` under each of the prefixes, and the keys
    /// beside them.
    fn dict(name: &str, prefixes: &[(&str, f64)], beside: &[&str]) -> Dict {
        let mut entries = BTreeMap::new();
        for (prefix, value) in prefixes {
            for own in resnet18().names() {
                let tensor = Tensor::from(*value).expand(resnet18().shape(own), false);
                entries.insert(format!("{prefix}{own}"), Entry::Loaded(tensor));
            }
        }
        for key in beside {
            entries.insert((*key).to_owned(), Entry::Loaded(Tensor::from(1.0)));
        }
        Dict { name: name.to_owned(), entries }
    }

    /// The path that was taken, and the others.
    fn chosen(dicts: &[Dict], key: Option<&str>) -> Result<(String, Vec<String>), Refusal> {
        let Choice { candidate, also } = choose(dicts, resnet18(), key)?;
        assert!(candidate.complete && candidate.names.contains_key("layer4.1.bn2.weight"));
        Ok((candidate.path(), also))
    }

    #[test]
    fn the_prefix_that_the_network_shares_is_found_whatever_stands_beside_it() {
        for (prefix, beside) in [
            ("", &[][..]),
            ("module.", &["n_averaged"]),
            ("model.", &["criterion.weight", "epoch"]),
            ("backbone.", &["head.weight"]),
            ("net.", &["network.weight"]),
            ("encoder.", &[]),
            ("module._orig_mod.", &["module.n"]),
            ("model.encoder.resnet.", &["model.encoder.norm.weight", "model.fc.weight"]),
            ("pretrained_model.", &["x"]),
        ] {
            let dicts = [dict("state_dict", &[(prefix, 0.0)], beside)];
            let path = format!("state_dict.{prefix}");
            let (taken, also) = chosen(&dicts, None).unwrap();
            assert_eq!((taken.as_str(), also.len()), (path.trim_end_matches('.'), 0));
            let left: Vec<_> =
                choose(&dicts, resnet18(), None).unwrap().candidate.beside().collect();
            assert_eq!(left, beside.iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn of_several_dicts_the_usual_one_is_taken_and_the_others_are_named() {
        let whole = |name| dict(name, &[("", name.len() as f64)], &[]);
        for (names, taken) in [
            (["state_dict_ema", "state_dict"], "state_dict"),
            (["model", "model_ema"], "model"),
            (["ema.state_dict", "net"], "net"),
            (["", "ema_network"], ""),
            (["online", "swa_model"], "online"),
            (["state_dict", "best_state"], "state_dict"),
        ] {
            let dicts = names.map(whole);
            let other = names.into_iter().find(|name| *name != taken).unwrap();
            assert_eq!(chosen(&dicts, None).unwrap(), (taken.to_owned(), vec![other.to_owned()]));
            assert_eq!(chosen(&dicts, Some(other)).unwrap().0, other);
        }
        // An average alone is the network.
        for name in ["state_dict_ema", "ema", "model_ema"] {
            assert_eq!(chosen(&[whole(name)], None).unwrap(), (name.to_owned(), vec![]));
        }
    }

    #[test]
    fn networks_with_equal_claims_are_an_error_that_names_them() {
        let student_and_teacher = dict("", &[("student.", 0.0), ("teacher.", 1.0)], &[]);
        let apart = [dict("online_net", &[("", 0.0)], &[]), dict("target_net", &[("", 1.0)], &[])];
        let averaged = dict("state_dict", &[("model.", 0.0), ("model_ema.", 1.0)], &[]);
        for (dicts, names) in [
            (&[student_and_teacher][..], ["student", "teacher"]),
            (&apart, ["online_net", "target_net"]),
            (&[averaged], ["state_dict.model", "state_dict.model_ema"]),
        ] {
            let error = chosen(dicts, None).unwrap_err().at("x.pth".as_ref(), "");
            assert!(matches!(error, Error::Undecided { setting: "key", .. }), "{error}");
            let problem = error.to_string();
            for name in names {
                assert!(problem.contains(&format!("{name:?}")), "{problem}");
                assert_eq!(chosen(dicts, Some(name)).unwrap().0, name);
                // Its last part says enough.
                let last = name.rsplit('.').next().unwrap();
                assert_eq!(chosen(dicts, Some(last)).unwrap().0, name);
            }
        }
    }

    #[test]
    fn equal_networks_and_parts_of_a_network_are_no_rivals() {
        // What robustness toolboxes write: the same module by two ways.
        let twice = dict("model", &[("module.model.", 3.0), ("module.attacker.model.", 3.0)], &[]);
        assert_eq!(chosen(&[twice], None).unwrap().0, "model.module.model");
        let within = dict("", &[("", 0.0), ("momentum_encoder.", 1.0)], &[]);
        let also = vec!["momentum_encoder".to_owned()];
        assert_eq!(chosen(&[within], None).unwrap(), (String::new(), also));
    }

    #[test]
    fn a_key_that_names_nothing_is_an_error_that_says_what_there_is() {
        let dicts = [dict("model", &[("", 0.0)], &[]), dict("ema", &[("", 1.0)], &[])];
        for key in ["modle", "mod", "model.layer1.0.x", ""] {
            let problem = chosen(&dicts, Some(key)).unwrap_err().problem;
            assert!(problem.contains(r#"["model", "ema"]"#), "{key:?}: {problem}");
        }
    }
}
