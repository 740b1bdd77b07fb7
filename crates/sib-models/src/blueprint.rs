//! The tensors that a network has a place for, and how those of a file compare.

use std::collections::{BTreeMap, HashSet};
use std::sync::OnceLock;

use tch::{Device, Tensor, nn};

use crate::layers::shapes_alone;
use crate::{Arch, LoadReport, ModelOptions, Reshaped};

/// Shape of a tensor by its name: `None` where there is no such tensor, and no shape where that is not
/// known.
type Sizes<'s> = &'s dyn Fn(&str) -> Option<Option<Vec<i64>>>;

/// The names and shapes of a network's variables.
#[derive(Debug, Clone)]
pub(crate) struct Blueprint {
    arch: Arch,
    shapes: BTreeMap<String, Vec<i64>>,
}

/// How much of a network is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fit {
    /// Tensors that are there in their shape.
    pub(crate) number: usize,
    /// Whether all are, apart from the head.
    pub(crate) complete: bool,
}

impl Blueprint {
    /// Of the architecture `arch`, with a head for one class.
    pub(crate) fn of_arch(arch: Arch) -> &'static Self {
        static KNOWN: [OnceLock<Blueprint>; Arch::ALL.len()] =
            [const { OnceLock::new() }; Arch::ALL.len()];
        KNOWN[arch as usize].get_or_init(|| Self::with_classes(arch, 1))
    }

    /// Of the architecture `arch`, with a head for `num_classes`; no variable is drawn.
    fn with_classes(arch: Arch, num_classes: i64) -> Self {
        let variables = nn::VarStore::new(Device::Cpu);
        shapes_alone(|| {
            (arch.spec().build)(&variables.root(), num_classes, &ModelOptions::default())
        });
        Self::new(arch, variables.variables())
    }

    /// Of the architecture `arch` with `variables`.
    pub(crate) fn new(arch: Arch, variables: impl IntoIterator<Item = (String, Tensor)>) -> Self {
        let shape = |(name, variable): (String, Tensor)| (name, variable.size());
        Self { arch, shapes: variables.into_iter().map(shape).collect() }
    }

    pub(crate) fn arch(&self) -> Arch {
        self.arch
    }

    /// The tensors but for batch counters, which not every file has.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.shapes.keys().filter(|name| !is_counter(name))
    }

    /// The shape of the tensor `name`, which is one of the network's.
    pub(crate) fn shape(&self, name: &str) -> &[i64] {
        &self.shapes[name]
    }

    /// What of the network is among tensors whose shapes are `size_of`.
    pub(crate) fn fit(&self, size_of: Sizes<'_>) -> Fit {
        let mut fit = Fit { number: 0, complete: true };
        for name in self.names() {
            let fits = size_of(name).is_some_and(|size| {
                size.is_none_or(|have| {
                    have == self.shapes[name]
                        || self.is_other_head(name, &have)
                        || self.is_adapted(name, &have)
                })
            });
            fit.number += usize::from(fits);
            fit.complete &= fits || self.in_head(name);
        }
        fit
    }

    /// Compares tensors `names`, whose shapes are `size_of`, with the network's: which are missing, which
    /// are unexpected, and which of the head have another number of classes. Shapes of batch counters are
    /// not looked at.
    ///
    /// # Errors
    /// Another shape differs, or no name fits.
    pub(crate) fn compare<'n>(
        &self,
        names: impl Iterator<Item = &'n String>,
        size_of: Sizes<'_>,
    ) -> Result<LoadReport, String> {
        let mut report = LoadReport::default();
        for (name, want) in &self.shapes {
            match size_of(name) {
                None => report.missing.push(name.clone()),
                Some(Some(have)) if have != *want && !is_counter(name) => {
                    if self.is_other_head(name, &have) {
                        let (name, want) = (name.clone(), want.clone());
                        report.replaced.push(Reshaped { name, have, want });
                    } else if !self.is_adapted(name, &have) {
                        let mut want = want.clone();
                        if self.in_head(name) && have.len() == want.len() {
                            // The number of classes is free.
                            want[0] = have[0];
                        }
                        return Err(format!(
                            "not {}: {name:?} has shape {have:?} instead of {want:?}",
                            self.arch
                        ));
                    }
                }
                Some(_) => {}
            }
        }
        let mut first_keys = Vec::new();
        for name in names {
            if first_keys.len() < 4 {
                first_keys.push(name.as_str());
            }
            if !self.shapes.contains_key(name) {
                report.unexpected.push(name.clone());
            }
        }
        if report.missing.len() == self.shapes.len() {
            return Err(format!(
                "not {}: none of its {} tensors is there; the first keys are {first_keys:?}",
                self.arch,
                self.shapes.len()
            ));
        }
        Ok(report)
    }

    /// Whether `name` is of the final linear layer, or of what a file has in its place.
    pub(crate) fn in_head(&self, name: &str) -> bool {
        name.strip_prefix(self.arch.head()).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Whether `name` lies in one of the network's own modules, or in one more of their kind: `layer5`
    /// where there are `layer1` to `layer4`.
    pub(crate) fn is_within(&self, name: &str) -> bool {
        let modules: HashSet<_> = self.shapes.keys().map(|own| pattern(module(own))).collect();
        modules.contains(&pattern(module(name)))
    }

    /// Whether the tensor belongs to the final layer and differs in the number of classes alone.
    fn is_other_head(&self, name: &str, have: &[i64]) -> bool {
        let want = &self.shapes[name];
        self.in_head(name) && have.len() == want.len() && have[1..] == want[1..]
    }

    /// Whether the tensor can be made to fit.
    fn is_adapted(&self, name: &str, have: &[i64]) -> bool {
        let mut adapted = self.arch.spec().adapted.iter().filter(|tensor| tensor.name == name);
        adapted.any(|tensor| (tensor.fits)(have, self.shape(name)))
    }
}

/// Whether `name` is a batch normalisation's counter.
pub(crate) fn is_counter(name: &str) -> bool {
    name.ends_with(".num_batches_tracked")
}

/// The outermost module that a tensor belongs to.
fn module(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The text with every number replaced: the same for all modules of a kind.
fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if !character.is_ascii_digit() {
            pattern.push(character);
        } else if !pattern.ends_with('#') {
            pattern.push('#');
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_dicts_are_torchvision_s() {
        for arch in Arch::ALL {
            let shapes = Blueprint::with_classes(arch, 1000).shapes;
            let line = |(name, shape): (&String, &Vec<i64>)| {
                let kind = if is_counter(name) { "int64" } else { "float32" };
                let sides: Vec<_> = shape.iter().map(i64::to_string).collect();
                format!("{name} {kind} {}", sides.join("x")).trim_end().to_owned() + "\n"
            };
            let ours: String = shapes.iter().map(line).collect();
            let path = sib_core::testing::golden_path(&format!("models_{arch}_keys.txt"));
            assert_eq!(ours, std::fs::read_to_string(path).expect("golden file"), "{arch}");
        }
    }
}
