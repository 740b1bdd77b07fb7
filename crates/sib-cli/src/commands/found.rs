//! Where finished work is looked for, and what its networks are called.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::left_out::LeftOut;
use crate::results::naming::Given;
use crate::results::{Folders, Naming};

/// Name of the baseline where none is given.
const BASELINE: &str = "baseline";

/// The folders of a command that shows what was measured.
#[derive(Debug, Args)]
pub struct Found {
    /// Folders with runs, evaluations or heatmaps, at any depth
    #[arg(long, value_name = "DIR", num_args = 1.., required_unless_present = "given")]
    runs: Vec<PathBuf>,
    /// Call the networks of a folder so, and look there too; repeatable
    #[arg(long = "as", value_name = "NAME=DIR", value_parser = Given::parse)]
    given: Vec<Given>,
    /// Tell networks apart by name and compare with this one; a network is called like its run's folder without
    /// dataset and seed, or by --as
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
}

impl Found {
    /// The folders; networks are told apart by how they were trained where no name is given. Folders
    /// below that cannot be read are in `left_out`.
    ///
    /// # Errors
    /// When one that was named cannot be read.
    pub fn folders(&self, left_out: &mut LeftOut) -> Result<Folders> {
        match self.given.is_empty() && self.baseline.is_none() {
            true => Folders::below(&self.runs, Naming::ByTraining, left_out),
            false => self.folders_by_name(left_out),
        }
    }

    /// The folders; networks are told apart by their names. Otherwise as [`Self::folders`].
    ///
    /// # Errors
    /// When one that was named cannot be read.
    pub fn folders_by_name(&self, left_out: &mut LeftOut) -> Result<Folders> {
        let given = self.given.iter().map(|one| one.folder.clone());
        let roots: Vec<PathBuf> = self.runs.iter().cloned().chain(given).collect();
        let baseline = self.baseline.as_deref().unwrap_or(BASELINE).to_owned();
        let naming = Naming::ByName { baseline, given: self.given.clone() };
        Folders::below(&roots, naming, left_out)
    }
}
