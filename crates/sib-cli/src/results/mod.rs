//! Finished work below a folder: runs, evaluations and explanations are found, grouped and compared here,
//! whatever shows them.

pub mod called;
pub mod compare;
pub mod evaluation;
pub mod in_words;
pub mod naming;
pub mod run;
pub mod seeds;
pub mod titles;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::explanation::folder as explanation;
use crate::left_out::LeftOut;
use crate::note;
use crate::run::RunRecord;

pub use called::Called;
pub use evaluation::Evaluation;
pub use naming::Naming;
pub use run::Run;

/// Folders and all folders below them.
#[derive(Debug)]
pub struct Folders {
    roots: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    naming: Naming,
}

/// The folders that were named.
impl fmt::Display for Folders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots: Vec<String> = self.roots.iter().map(|root| root.display().to_string()).collect();
        f.write_str(&roots.join(", "))
    }
}

impl Folders {
    /// Those in the folders at `roots`, each before those in it, in the order of their names. Links to
    /// folders are followed; a folder that is met twice counts once. Networks in them are called by `naming`. Folders below
    /// that cannot be read are in `left_out`.
    ///
    /// # Errors
    /// When a root cannot be read.
    pub fn below(roots: &[PathBuf], naming: Naming, left_out: &mut LeftOut) -> Result<Self> {
        Ok(Self { folders: tree::folders(roots, left_out)?, roots: roots.to_owned(), naming })
    }

    /// The folders that were named.
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// The runs among them, finished or not, and the finished evaluations. Those that cannot be read are in
    /// `left_out`.
    ///
    /// # Errors
    /// When they cannot be named.
    pub fn runs_and_evaluations(
        &self,
        left_out: &mut LeftOut,
    ) -> Result<(Vec<Run>, Vec<Evaluation>)> {
        let (mut runs, mut evaluations) =
            (self.read_runs(left_out), self.read_evaluations(left_out));
        self.naming.apply(&mut runs, &mut evaluations)?;
        Ok((runs, evaluations))
    }

    /// The finished runs among them; the others are named on stderr, and those that cannot be read are in
    /// `left_out`.
    ///
    /// # Errors
    /// When they cannot be named.
    pub fn finished_runs(&self, left_out: &mut LeftOut) -> Result<Vec<Run>> {
        let (mut finished, others): (Vec<_>, Vec<_>) =
            self.read_runs(left_out).into_iter().partition(Run::is_finished);
        others.iter().for_each(|run| unfinished(&run.record.path));
        self.naming.apply(&mut finished, &mut [])?;
        Ok(finished)
    }

    fn read_runs(&self, left_out: &mut LeftOut) -> Vec<Run> {
        let runs = self.folders.iter().filter(|folder| RunRecord::is_at(folder));
        runs.filter_map(|folder| left_out.read(Run::read(folder))).collect()
    }

    fn read_evaluations(&self, left_out: &mut LeftOut) -> Vec<Evaluation> {
        let finished = self.folders.iter().filter(|folder| evaluation::is_finished(folder));
        finished.filter_map(|folder| left_out.read(Evaluation::read(folder))).collect()
    }

    /// The folders of evaluations that were begun and not finished.
    pub fn unfinished_evaluations(&self) -> Vec<&Path> {
        let begun = self.folders.iter().filter(|folder| evaluation::is_begun(folder));
        begun.filter(|folder| !evaluation::is_finished(folder)).map(PathBuf::as_path).collect()
    }

    /// The finished evaluations among them; the others are named on stderr, and those that cannot be read are in
    /// `left_out`.
    ///
    /// # Errors
    /// When they cannot be named.
    pub fn finished_evaluations(&self, left_out: &mut LeftOut) -> Result<Vec<Evaluation>> {
        let mut evaluations = self.read_evaluations(left_out);
        self.unfinished_evaluations().into_iter().for_each(unfinished);
        self.naming.apply(&mut [], &mut evaluations)?;
        Ok(evaluations)
    }

    /// The finished explanations among them. Those that cannot be read are in `left_out`.
    pub fn explanations(&self, left_out: &mut LeftOut) -> Vec<explanation::Finished> {
        let finished = self.folders.iter().filter(|folder| explanation::is_finished(folder));
        finished.filter_map(|folder| left_out.read(explanation::Finished::read(folder))).collect()
    }
}

fn unfinished(folder: &Path) {
    note!("warning: {}: not finished, left out", folder.display());
}
