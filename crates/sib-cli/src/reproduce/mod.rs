//! A whole reproduction: trainings, evaluations, tables, figures and the report, in one plan that can be
//! printed, run, interrupted and gone on with.
//!
//! Each step is a command of this program in a process of its own: what it takes of memory ends with it,
//! one that is killed does not end the others, and what is printed of the plan is what is run.

mod joined;
mod place;
mod plan;
mod planner;
mod profile;
mod run;
mod weights;

use std::num::NonZeroUsize;
use std::path::Path;

use sib_core::data::DatasetName;
use sib_models::Arch;

pub(crate) use planner::plan;
pub(crate) use profile::{NAMES, Profile};
pub(crate) use run::run;

/// The paper's tables, as `sib-cli table` calls them.
pub(crate) const TABLES: [&str; 4] = ["2", "3", "4", "5"];
/// The paper's figures, as `sib-cli figure` calls them.
pub(crate) const FIGURES: [&str; 5] = ["1a", "1b", "3", "4", "5"];

/// What is reproduced, and where. Empty lists and what is not set are the profile's own.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) tables: &'a [String],
    pub(crate) figures: &'a [String],
    pub(crate) datasets: &'a [DatasetName],
    pub(crate) backbones: &'a [Arch],
    pub(crate) seeds: &'a [u64],
    /// Folder of the configurations.
    pub(crate) configs: &'a str,
    /// Folder of the unpacked archives.
    pub(crate) data: Option<&'a str>,
    /// Folder of initial weights, or `none`.
    pub(crate) weights: Option<&'a str>,
    pub(crate) output: Option<&'a str>,
    pub(crate) device: &'a str,
    /// Processes that share each training and evaluation; `None` for one.
    pub(crate) processes: Option<NonZeroUsize>,
    /// Whether evaluations are on all the images that a profile has for them.
    pub(crate) full: bool,
}

/// A folder that was not given: `name`, beside that of the configurations.
fn beside_configs(configs: &str, name: &str) -> String {
    let parent = Path::new(configs).parent().unwrap_or(Path::new(""));
    parent.join(name).display().to_string()
}
