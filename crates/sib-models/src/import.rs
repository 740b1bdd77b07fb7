//! Weights of other software: PyTorch files in the zip and the older container, and safetensors,
//! with torchvision's or timm's key names.

mod calls;
mod choice;
mod container;
mod contents;
mod foreign;
mod globals;
mod keys;
mod legacy;
mod names;
mod objects;
mod pickle;
mod problem;
mod refusal;
mod storage;
mod zipped;

use std::collections::BTreeMap;
use std::path::Path;

use sib_core::{Error, Result};
use tch::{Device, Tensor};

use crate::blueprint::Blueprint;
use crate::{Arch, LoadReport, Model, ModelOptions};
use choice::{Candidate, Choice, choose};
use contents::{Contents, Dict, Entry, Source};
use problem::Problem;
use refusal::Refusal;

/// What of a file is the network, where it does not say so itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Where the state dict is: the keys that lead to it and the prefix of its own, joined by full stops.
    pub key: Option<String>,
    /// Modules of the file that take no part in the logits.
    pub ignore: Vec<String>,
}

/// The state dict in `path`, a PyTorch file or safetensors, under the keys of `arch` and on the
/// CPU; f16, bf16 and f64 become f32.
///
/// Of several dicts, and of the prefixes of wrappers, it is the one under which the network is whole.
/// Pickles are read by a machine that knows tensors and dicts and calls nothing, so no code of a file
/// ever runs. Memory stays within a small multiple of the file's size.
///
/// # Errors
/// The file cannot be read, is damaged, holds no state dict or more than one that fits, or names anything
/// that is refused.
pub fn read_state_dict(path: &Path, arch: Arch) -> Result<BTreeMap<String, Tensor>> {
    let network = Blueprint::of_arch(arch);
    let (dicts, mut source) = Contents::open(path)?.into_parts();
    let mut read = || -> Result<_, Refusal> {
        let candidate = choose(&dicts, network, None)?.candidate;
        let mut state = read_tensors(&candidate, &mut source, |_| true)?;
        keys::adapt(&mut state, network);
        Ok(state)
    };
    read().map_err(|refusal| refusal.at(path, ""))
}

impl Model {
    /// Fills the network from `path`, any file that [`read_state_dict`] reads.
    ///
    /// The final layer keeps its values where the file has another number of classes.
    ///
    /// # Errors
    /// The file cannot be read, belongs to another architecture, or holds a number that is not finite.
    pub fn load_weights(&self, path: &Path) -> Result<LoadReport> {
        self.load_selected(path, &Selection::default())
    }

    /// [`Self::load_weights`] from the part of the file that `selection` says.
    ///
    /// # Errors
    /// As [`Self::load_weights`], and where the file has no such part.
    pub fn load_selected(&self, path: &Path, selection: &Selection) -> Result<LoadReport> {
        self.fill(Contents::open(path)?, path, selection)
    }

    /// The network `arch` with the weights of `path`; `num_classes` defaults to the file's.
    ///
    /// # Errors
    /// As [`Self::load_weights`] and [`Self::new`].
    pub fn import(
        path: &Path,
        arch: Arch,
        num_classes: Option<i64>,
        device: Device,
        options: &ModelOptions,
    ) -> Result<(Self, LoadReport)> {
        Self::import_selected(path, &Selection::default(), arch, num_classes, device, options)
    }

    /// [`Self::import`] from the part of the file that `selection` says.
    ///
    /// # Errors
    /// As [`Self::load_selected`] and [`Self::new`].
    pub fn import_selected(
        path: &Path,
        selection: &Selection,
        arch: Arch,
        num_classes: Option<i64>,
        device: Device,
        options: &ModelOptions,
    ) -> Result<(Self, LoadReport)> {
        let contents = Contents::open(path)?;
        let num_classes = match num_classes {
            Some(number) => number,
            None => {
                let network = Blueprint::of_arch(arch);
                classes_of(&contents.dicts, network, selection)
                    .and_then(|number| expect_stored(number, network, path).map(|()| number))
                    .map_err(|refusal| explained(path, refusal, &contents.dicts, arch))?
            }
        };
        let model = Self::new(arch, num_classes, device, options)?;
        let report = model.fill(contents, path, selection)?;
        Ok((model, report))
    }

    fn fill(&self, contents: Contents, path: &Path, selection: &Selection) -> Result<LoadReport> {
        let network = self.blueprint();
        let (dicts, mut source) = contents.into_parts();
        let explain = |refusal| explained(path, refusal, &dicts, self.arch());
        let (Choice { candidate, also }, mut report) =
            compared(&dicts, &network, selection).map_err(explain)?;
        let is_wanted = |name: &str| !report.unexpected.iter().any(|other| other == name);
        let mut state = read_tensors(&candidate, &mut source, is_wanted)
            .map_err(|problem| Error::malformed(path, problem))?;
        let resized = keys::adapt(&mut state, &network);
        let counters_added = keys::add_batch_counters(&mut state, &self.state_dict());
        let loaded = self.load_state_dict(&state, path)?;
        report.unexpected.extend(candidate.beside().cloned());
        Ok(LoadReport {
            resized,
            counters_reset: counters_added + loaded.counters_reset,
            unexpected: report.unexpected,
            taken: candidate.path(),
            also,
            ..loaded
        })
    }
}

/// The network in `dicts`, and how it compares with `network`.
fn compared<'c>(
    dicts: &'c [Dict],
    network: &Blueprint,
    selection: &Selection,
) -> Result<(Choice<'c>, LoadReport), Refusal> {
    let choice = choose(dicts, network, selection.key.as_deref())?;
    let candidate = &choice.candidate;
    let size_of = |name: &str| candidate.entry(name).map(Entry::size);
    let report = network.compare(candidate.names.keys(), &size_of)?;
    foreign::check(&report, network, &selection.ignore)?;
    Ok((choice, report))
}

/// The number of classes of the network in `dicts`.
fn classes_of(dicts: &[Dict], network: &Blueprint, selection: &Selection) -> Result<i64, Refusal> {
    let (choice, _) = compared(dicts, network, selection)?;
    let arch = network.arch();
    let head = format!("{}.weight", arch.head());
    let rows = choice.candidate.entry(&head).and_then(Entry::size);
    rows.and_then(|size| size.first().copied()).ok_or_else(|| {
        let problem = format!("has no {head:?}: {arch} without its final layer");
        Refusal::undecided(problem, "num_classes", "N")
    })
}

/// Refuses a head with more elements than the file at `path` has bytes: one view of few elements can claim any size.
fn expect_stored(num_classes: i64, network: &Blueprint, path: &Path) -> Result<(), Refusal> {
    let bytes = std::fs::metadata(path).map_or(0, |of| of.len());
    let head = format!("{}.weight", network.arch().head());
    let width = network.shape(&head).iter().skip(1).product::<i64>();
    match num_classes.checked_mul(width) {
        Some(elements) if elements as u64 <= bytes => Ok(()),
        _ => Err(format!(
            "refused: {head:?} has {num_classes} rows of {width} elements, more than the file has bytes"
        )
        .into()),
    }
}

/// The tensors of `candidate` whose names are wanted.
fn read_tensors(
    candidate: &Candidate<'_>,
    source: &mut Source,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Tensor>, Problem> {
    let mut state = BTreeMap::new();
    for name in candidate.names.keys().filter(|name| is_wanted(name)) {
        let Some(entry) = candidate.entry(name) else { continue };
        let tensor = source.tensor(entry).map_err(|why| format!("{name:?}: {why}"))?;
        state.insert(name.clone(), tensor);
    }
    Ok(state)
}

/// The `refusal` of a file that is not `arch`, with the architecture that it may be: one whose every
/// tensor is there, and no part of another.
fn explained(path: &Path, refusal: Refusal, dicts: &[Dict], arch: Arch) -> Error {
    let fits = |other: &Arch| {
        let network = Blueprint::of_arch(*other);
        choose(dicts, network, None).is_ok_and(|choice| {
            let candidate = choice.candidate;
            let size_of = |name: &str| candidate.entry(name).map(Entry::size);
            network.fit(&size_of).complete
                && network
                    .compare(candidate.names.keys(), &size_of)
                    .is_ok_and(|report| foreign::check(&report, network, &[]).is_ok())
        })
    };
    let other = Arch::ALL.into_iter().filter(|other| *other != arch).find(fits);
    refusal.at(path, &other.map_or(String::new(), |other| format!(" (it may be {other})")))
}
