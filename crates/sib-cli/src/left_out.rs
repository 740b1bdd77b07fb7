//! What cannot be read among many: it is named, the others are used, and the exit code remembers.

use anyhow::{Result, bail};

use crate::error::message;
use crate::note;

/// What was left out on the way.
#[derive(Debug, Default)]
pub struct LeftOut {
    problems: Vec<String>,
}

impl LeftOut {
    /// The value; none, after the problem was named on stderr, where there is none.
    pub fn read<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let problem = message(&error);
                note!("warning: {problem}; left out");
                self.problems.push(problem);
                None
            }
        }
    }

    /// Why each was left out.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Fails where something was left out, for the end of a command.
    ///
    /// # Errors
    /// With the number of problems and the first.
    pub fn expect_none(&self) -> Result<()> {
        match &self.problems[..] {
            [] => Ok(()),
            [only] => bail!("without what cannot be read: {only}"),
            [first, others @ ..] => {
                bail!("without what cannot be read: {first}, and {} more, see above", others.len())
            }
        }
    }
}
