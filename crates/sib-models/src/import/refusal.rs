//! Why what is in a file is not taken for the network.

use std::path::Path;

use sib_core::Error;

use super::problem::Problem;

/// What is wrong with the file, or what it leaves open.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) problem: Problem,
    /// The argument of the import that would settle it, and its value.
    settled_by: Option<(&'static str, String)>,
}

impl Refusal {
    /// `problem` would be none, were `setting` given as `value`.
    pub(super) fn undecided(problem: Problem, setting: &'static str, value: &str) -> Self {
        Self { problem, settled_by: Some((setting, value.to_owned())) }
    }

    /// The error of the file at `path`; `remark` follows what is said.
    pub(super) fn at(self, path: &Path, remark: &str) -> Error {
        let problem = self.problem + remark;
        match self.settled_by {
            Some((setting, value)) => {
                Error::Undecided { path: path.to_owned(), problem, setting, value }
            }
            None => Error::malformed(path, problem),
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, settled_by: None }
    }
}
