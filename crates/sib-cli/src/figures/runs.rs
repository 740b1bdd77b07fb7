//! Finished training runs below a folder.

use std::path::Path;

use anyhow::Result;

use crate::evaluation::network::StoredConfig;
use crate::run_record::RunRecord;
use crate::tree;

/// A finished run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) record: RunRecord,
    pub(super) config: StoredConfig,
}

/// The finished runs in the folder at `root` and below it; those that are not finished are named on
/// stderr.
///
/// # Errors
/// When a folder or a run's file cannot be read.
pub(super) fn find(root: &Path) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for path in tree::folders(root)?.into_iter().filter(|path| RunRecord::is_at(path)) {
        let record = RunRecord::read(&path)?;
        if record.status.is_none() {
            eprintln!("warning: {}: not finished, left out", path.display());
            continue;
        }
        runs.push(Run { config: record.settings()?, record });
    }
    Ok(runs)
}
