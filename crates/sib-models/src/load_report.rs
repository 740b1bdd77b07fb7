//! What became of the tensors of a file.

use std::fmt;

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
    /// Tensors of another form, made the network's: position embeddings of another image size, linear layers
    /// as convolutions.
    pub resized: Vec<Reshaped>,
    /// Number of batch counters set to 0: an old file has none, or f16 could not hold them.
    pub counters_reset: usize,
    /// Where in the file the state dict is, keys and prefix joined by full stops; empty where it is the
    /// file itself.
    pub taken: String,
    /// Other networks of the file that would have fitted.
    pub also: Vec<String>,
}

/// Names that a report lists of each kind: a network beside the one that was taken has hundreds.
const MAX_LISTED: usize = 20;

impl LoadReport {
    /// Whether every variable was set from a tensor of its shape and none was left over.
    pub fn is_exact(&self) -> bool {
        let (taken, also) = (self.taken.clone(), self.also.clone());
        *self == Self { loaded: self.loaded, taken, also, ..Self::default() }
    }
}

impl fmt::Display for LoadReport {
    /// One line: the counts, then the names of what was not simply loaded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors loaded", self.loaded)?;
        if !self.taken.is_empty() {
            write!(f, " from {:?}", self.taken)?;
        }
        let lists = [
            ("also there, not taken", &self.also),
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
        ];
        for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
            let listed = names.iter().take(MAX_LISTED).map(String::as_str).collect::<Vec<_>>();
            write!(f, "; {what}: {}", listed.join(", "))?;
            if names.len() > MAX_LISTED {
                write!(f, " and {} more", names.len() - MAX_LISTED)?;
            }
        }
        let reshaped = |f: &mut fmt::Formatter<'_>, what: &str, tensors: &[Reshaped]| {
            tensors.iter().try_for_each(|Reshaped { name, have, want }| {
                write!(f, "; {what}: {name} {have:?} -> {want:?}")
            })
        };
        reshaped(f, "newly initialised", &self.replaced)?;
        reshaped(f, "resized", &self.resized)?;
        if self.counters_reset > 0 {
            write!(f, "; {} batch counters set to 0", self.counters_reset)?;
        }
        Ok(())
    }
}
