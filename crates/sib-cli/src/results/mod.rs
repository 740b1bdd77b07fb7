//! Finished work below a folder: runs, evaluations and explanations are found, grouped and compared here,
//! whatever shows them.

pub mod compare;
pub mod evaluation;
pub mod in_words;
pub mod run;
pub mod seeds;
pub mod titles;
mod tree;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::explanation::folder as explanation;
use crate::left_out::LeftOut;
use crate::note;
use crate::run::RunRecord;

pub use evaluation::Evaluation;
pub use run::Run;

/// A folder and all folders below it.
#[derive(Debug)]
pub struct Folders(Vec<PathBuf>);

impl Folders {
    /// Those in the folder at `root`, each before those in it, in the order of their names. Links to
    /// folders are followed; a folder that is met twice counts once.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn below(root: &Path) -> Result<Self> {
        Ok(Self(tree::folders(root)?))
    }

    /// The runs among them, finished or not. Those that cannot be read are in `left_out`.
    pub fn runs(&self, left_out: &mut LeftOut) -> Vec<Run> {
        let runs = self.0.iter().filter(|folder| RunRecord::is_at(folder));
        runs.filter_map(|folder| left_out.read(Run::read(folder))).collect()
    }

    /// The finished runs among them; the others are named on stderr.
    pub fn finished_runs(&self, left_out: &mut LeftOut) -> Vec<Run> {
        let (finished, others): (Vec<_>, Vec<_>) =
            self.runs(left_out).into_iter().partition(Run::is_finished);
        others.iter().for_each(|run| unfinished(&run.record.path));
        finished
    }

    /// The finished evaluations among them. Those that cannot be read are in `left_out`.
    pub fn evaluations(&self, left_out: &mut LeftOut) -> Vec<Evaluation> {
        let finished = self.0.iter().filter(|folder| evaluation::is_finished(folder));
        finished.filter_map(|folder| left_out.read(Evaluation::read(folder))).collect()
    }

    /// The folders of evaluations that were begun and not finished.
    pub fn unfinished_evaluations(&self) -> Vec<&Path> {
        let begun = self.0.iter().filter(|folder| evaluation::is_begun(folder));
        begun.filter(|folder| !evaluation::is_finished(folder)).map(PathBuf::as_path).collect()
    }

    /// The finished evaluations among them; the others are named on stderr.
    pub fn finished_evaluations(&self, left_out: &mut LeftOut) -> Vec<Evaluation> {
        let evaluations = self.evaluations(left_out);
        self.unfinished_evaluations().into_iter().for_each(unfinished);
        evaluations
    }

    /// The finished explanations among them. Those that cannot be read are in `left_out`.
    pub fn explanations(&self, left_out: &mut LeftOut) -> Vec<explanation::Finished> {
        let finished = self.0.iter().filter(|folder| explanation::is_finished(folder));
        finished.filter_map(|folder| left_out.read(explanation::Finished::read(folder))).collect()
    }
}

fn unfinished(folder: &Path) {
    note!("warning: {}: not finished, left out", folder.display());
}
