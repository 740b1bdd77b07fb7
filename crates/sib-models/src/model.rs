//! A network together with its variables: made new, from a checkpoint, or filled from a state dict.

use std::collections::BTreeMap;
use std::path::Path;

use sib_core::checkpoint::{CheckpointMeta, expect_finite, read_checkpoint, write_checkpoint};
use sib_core::{Backbone, Error, Result};
use tch::{Device, Kind, Tensor, nn};

use crate::blueprint::{Blueprint, is_counter};
use crate::{Arch, LoadReport, ModelOptions, Network};

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
        arch.spec().check_options(options)?;
        let network = (arch.spec().build)(&variables.root(), num_classes, options);
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
        // Before a network of the size that the file claims is made.
        let size_of = |name: &str| state.get(name).map(|tensor| Some(tensor.size()));
        let known = Blueprint::of_arch(arch).compare(state.keys(), &size_of);
        known.map_err(|problem| Error::malformed(path, problem))?;
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

    /// The names and shapes of its variables.
    pub(crate) fn blueprint(&self) -> Blueprint {
        Blueprint::new(self.arch, self.state_dict())
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
    /// The final linear layer keeps its fresh values where `state` has another number of classes. A
    /// batch counter may be of any kind; one that f16 could not hold is set to 0. `source` is named in
    /// errors.
    ///
    /// # Errors
    /// No name fits, or another shape than that of the final layer's classes does not, or a weight is no
    /// float, not finite or a negative variance: nothing is changed then.
    pub fn load_state_dict(
        &self,
        state: &BTreeMap<String, Tensor>,
        source: &Path,
    ) -> Result<LoadReport> {
        let malformed = |problem: String| Error::malformed(source, problem);
        let size_of = |name: &str| state.get(name).map(|tensor| Some(tensor.size()));
        let mut report = self.blueprint().compare(state.keys(), &size_of).map_err(malformed)?;
        let mut values = BTreeMap::new();
        let variables = self.state_dict();
        for (name, variable) in &variables {
            let is_replaced = report.replaced.iter().any(|tensor| tensor.name == *name);
            let Some(value) = state.get(name).filter(|_| !is_replaced) else { continue };
            let value = if is_counter(name) {
                counter(value, &mut report.counters_reset)
            } else {
                weight(value, variable.kind())
            };
            let value = value.map_err(|problem| malformed(format!("{name:?} {problem}")))?;
            values.insert(name.clone(), value);
        }
        expect_finite(source, &values)?;
        expect_variances(&values).map_err(malformed)?;
        tch::no_grad(|| {
            for (name, value) in &values {
                variables[name].shallow_clone().f_copy_(value)?;
                report.loaded += 1;
            }
            Ok::<_, Error>(())
        })?;
        Ok(report)
    }
}

/// The float tensor `value` in the kind of its variable.
fn weight(value: &Tensor, kind: Kind) -> Result<Tensor, String> {
    if !value.is_floating_point() {
        // Whole numbers are a quantised network's, which mean something else with their scales.
        return Err(format!("holds {:?} numbers, expected floats", value.kind()));
    }
    Ok(value.to_kind(kind))
}

/// The counter `value` as int64, in whatever kind it was stored; 0 where it went beyond the largest number
/// of f16, 65504, which is counted in `reset`. Nothing is computed from it.
fn counter(value: &Tensor, reset: &mut usize) -> Result<Tensor, String> {
    if value.numel() != 1 {
        return Err(format!("has shape {:?}, expected one number", value.size()));
    }
    let value = value.reshape([0; 0]);
    if !value.is_floating_point() {
        return Ok(value.to_kind(Kind::Int64));
    }
    let number = value.double_value(&[]);
    if number == f64::INFINITY {
        *reset += 1;
        return Ok(Tensor::from(0_i64));
    }
    if !(number >= 0.0 && number.fract() == 0.0) {
        return Err(format!("holds {number}, expected a number of batches"));
    }
    Ok(value.to_kind(Kind::Int64))
}

/// Checks the running variances of batch normalisation among `values`: a negative one has no root. One of a
/// channel that is constant may be a rounding error below zero, which ε = 10⁻⁵ outweighs.
fn expect_variances(values: &BTreeMap<String, Tensor>) -> Result<(), String> {
    for (name, variance) in values.iter().filter(|(name, _)| name.ends_with(".running_var")) {
        let smallest = variance.min().double_value(&[]);
        if smallest < -1e-6 {
            return Err(format!("{name:?} holds {smallest}, expected variances of at least 0"));
        }
    }
    Ok(())
}
