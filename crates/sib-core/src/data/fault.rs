//! Annotations that cannot be used.

use std::fmt;
use std::path::PathBuf;

use crate::Error;

/// What is wrong with an annotation that its file has, but that cannot be used. It is an error of the
/// record alone, and only where the annotation is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file of the annotation.
    pub file: PathBuf,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl From<&Fault> for Error {
    fn from(Fault { file, problem }: &Fault) -> Self {
        Self::malformed(file, problem.clone())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.problem)
    }
}
