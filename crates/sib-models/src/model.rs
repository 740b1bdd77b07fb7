//! A network together with its variables: made new, from a checkpoint, or filled from a state dict.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sib_core::checkpoint::{CheckpointMeta, read_checkpoint, write_checkpoint};
use sib_core::{Backbone, Error, Result};
use tch::{Device, Kind, Tensor, nn};

use crate::Arch;
use crate::arch::Network;

/// Options of the networks that do not change their state dict; active in train mode only.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelOptions {
    /// Probability of dropping a value: of each dense layer's output in DenseNet; of the position
    /// embedding's, attention's and multi-layer perceptron's outputs in ViT. ResNets have none.
    pub dropout: f64,
    /// Probability of dropping an attention weight in ViT.
    pub attention_dropout: f64,
}

impl ModelOptions {
    /// Checks that the probabilities are in `[0,1)` and that `arch` has a use for them.
    pub(crate) fn check(&self, arch: Arch) -> Result<()> {
        let (drops, attends) = match arch {
            Arch::ResNet18 | Arch::ResNet50 => (false, false),
            Arch::DenseNet121 => (true, false),
            Arch::VitB32 => (true, true),
        };
        for (key, value, has_it) in [
            ("dropout", self.dropout, drops),
            ("attention_dropout", self.attention_dropout, attends),
        ] {
            if value != 0.0 && !has_it {
                return Err(Error::invalid(key, value, format!("0: {arch} has none")));
            }
            if !(0.0..1.0).contains(&value) {
                return Err(Error::invalid(key, value, "a probability in [0, 1)"));
            }
        }
        Ok(())
    }
}

/// A backbone and the variables it computes with.
#[derive(Debug)]
pub struct Model {
    arch: Arch,
    num_classes: i64,
    variables: nn::VarStore,
    pub(crate) network: Box<dyn Network>,
}

impl Model {
    /// A network with torchvision's initialisation, drawn from libtorch's global generator
    /// (`tch::manual_seed`), in f32.
    ///
    /// # Errors
    /// `num_classes` is less than one, or an option does not fit the architecture.
    pub fn new(
        arch: Arch,
        num_classes: i64,
        device: Device,
        options: &ModelOptions,
    ) -> Result<Self> {
        if num_classes < 1 {
            return Err(Error::invalid("number of classes", num_classes, "at least 1"));
        }
        let variables = nn::VarStore::new(device);
        let network = arch.build(&variables.root(), num_classes, options)?;
        Ok(Self { arch, num_classes, variables, network })
    }

    /// The network of a checkpoint, every variable from the file.
    ///
    /// # Errors
    /// The file is not a checkpoint, names an unknown architecture, or lacks or exceeds that
    /// architecture's state dict.
    pub fn from_checkpoint(path: &Path, device: Device) -> Result<(Self, CheckpointMeta)> {
        let (state, meta) = read_checkpoint(path)?;
        let in_file = |error: Error| Error::malformed(path, error.to_string());
        let arch: Arch = meta.arch.parse().map_err(in_file)?;
        let head = format!("{}.weight", arch.head());
        let Some(num_classes) = state.get(&head).and_then(|weight| weight.size().first().copied())
        else {
            return Err(Error::malformed(path, format!("lacks {head:?} of {arch}")));
        };
        if !meta.classes.is_empty() && meta.classes.len() as i64 != num_classes {
            let problem =
                format!("names {} classes, but has {num_classes} logits", meta.classes.len());
            return Err(Error::malformed(path, problem));
        }
        let model = Self::new(arch, num_classes, device, &ModelOptions::default())?;
        let report = model.load_state_dict(&state, path)?;
        if !report.is_exact() {
            return Err(Error::malformed(path, format!("not the state dict of {arch}: {report}")));
        }
        Ok((model, meta))
    }

    /// The network itself.
    pub fn backbone(&self) -> &dyn Backbone {
        self.network.as_ref()
    }

    /// Its architecture.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// Number of logits.
    pub fn num_classes(&self) -> i64 {
        self.num_classes
    }

    /// The variables, to convert or move them. (`VarStore::double` keeps integer counters.)
    pub fn variables_mut(&mut self) -> &mut nn::VarStore {
        &mut self.variables
    }

    /// The device of the variables.
    pub fn device(&self) -> Device {
        self.variables.device()
    }

    /// The trainable variables (not copies) by state-dict key.
    pub fn parameters(&self) -> BTreeMap<String, Tensor> {
        let mut variables = self.state_dict();
        variables.retain(|_, variable| variable.requires_grad());
        variables
    }

    /// All variables (not copies) by torchvision's state-dict key, counters as int64.
    pub fn state_dict(&self) -> BTreeMap<String, Tensor> {
        self.variables.variables().into_iter().collect()
    }

    /// Writes the state dict as a checkpoint. `meta.arch` is set to this network's.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path, meta: &CheckpointMeta) -> Result<()> {
        let meta = CheckpointMeta { arch: self.arch.name().to_owned(), ..meta.clone() };
        write_checkpoint(path, &self.state_dict(), &meta)
    }

    /// Copies the tensors of `state` into the variables of the same names.
    ///
    /// The final linear layer keeps its fresh values where `state` has another number of classes.
    /// `source` is named in errors.
    ///
    /// # Errors
    /// No name fits, or another shape than that of the final layer's classes does not, or a counter
    /// is no integer: nothing is changed then.
    pub fn load_state_dict(
        &self,
        state: &BTreeMap<String, Tensor>,
        source: &Path,
    ) -> Result<LoadReport> {
        let variables = self.state_dict();
        let mut report = LoadReport::default();
        let mut matched = Vec::new();
        for (name, variable) in &variables {
            let Some(value) = state.get(name) else {
                report.missing.push(name.clone());
                continue;
            };
            let (have, want) = (value.size(), variable.size());
            if have == want && variable.kind() == Kind::Int64 && value.kind() != Kind::Int64 {
                let problem = format!("{name:?} holds {:?} instead of int64", value.kind());
                return Err(Error::malformed(source, problem));
            } else if have == want {
                matched.push((variable, value));
            } else if self.is_other_head(name, &have, &want) {
                report.replaced.push(Reshaped { name: name.clone(), have, want });
            } else {
                let problem =
                    format!("not {}: {name:?} has shape {have:?} instead of {want:?}", self.arch);
                return Err(Error::malformed(source, problem));
            }
        }
        report.unexpected =
            state.keys().filter(|name| !variables.contains_key(*name)).cloned().collect();
        if matched.is_empty() {
            let first =
                state.keys().next().map_or("nothing".to_owned(), |name| format!("{name:?}"));
            let problem = format!(
                "not {}: none of its {} tensors is there (the file begins with {first})",
                self.arch,
                variables.len()
            );
            return Err(Error::malformed(source, problem));
        }
        tch::no_grad(|| {
            for (variable, value) in matched {
                variable.shallow_clone().f_copy_(value)?;
                report.loaded += 1;
            }
            Ok::<_, Error>(())
        })?;
        Ok(report)
    }

    /// Whether the tensor belongs to the final layer and differs in the number of classes alone.
    fn is_other_head(&self, name: &str, have: &[i64], want: &[i64]) -> bool {
        let in_head = name
            .strip_prefix(self.arch.head())
            .is_some_and(|rest| rest == ".weight" || rest == ".bias");
        in_head && have.len() == want.len() && have[1..] == want[1..]
    }
}

/// A tensor whose shape in a file differs from the network's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reshaped {
    /// State-dict key.
    pub name: String,
    /// Shape in the file.
    pub have: Vec<i64>,
    /// Shape in the network.
    pub want: Vec<i64>,
}

/// Which tensors of a file went into a network, and which did not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Number of variables that were set.
    pub loaded: usize,
    /// Variables that the file lacks; they keep their initial values.
    pub missing: Vec<String>,
    /// Tensors of the file that the network has no variable for.
    pub unexpected: Vec<String>,
    /// Tensors of the final layer that keep their initial values: another number of classes.
    pub replaced: Vec<Reshaped>,
    /// Position embeddings of another image size, resized to the network's.
    pub resized: Vec<Reshaped>,
    /// Number of batch counters set to 0 because an old file has none.
    pub counters_added: usize,
}

impl LoadReport {
    /// Whether every variable was set from a tensor of its shape and none was left over.
    pub fn is_exact(&self) -> bool {
        *self == Self { loaded: self.loaded, ..Self::default() }
    }
}

impl fmt::Display for LoadReport {
    /// One line: the counts, then every name that was not simply loaded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors loaded", self.loaded)?;
        for (what, names) in [("missing", &self.missing), ("unexpected", &self.unexpected)] {
            if !names.is_empty() {
                write!(f, "; {what}: {}", names.join(", "))?;
            }
        }
        let reshaped = |f: &mut fmt::Formatter<'_>, what: &str, tensors: &[Reshaped]| {
            tensors.iter().try_for_each(|Reshaped { name, have, want }| {
                write!(f, "; {what}: {name} {have:?} -> {want:?}")
            })
        };
        reshaped(f, "newly initialised", &self.replaced)?;
        reshaped(f, "resized", &self.resized)?;
        if self.counters_added > 0 {
            write!(f, "; {} batch counters set to 0", self.counters_added)?;
        }
        Ok(())
    }
}
