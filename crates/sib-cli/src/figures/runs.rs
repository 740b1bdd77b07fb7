//! Finished training runs below a folder.

use std::path::Path;

use anyhow::Result;

use crate::evaluation::network::StoredConfig;
use crate::left_out::LeftOut;
use crate::note;
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
/// When a folder cannot be read.
pub(super) fn find(root: &Path, left_out: &mut LeftOut) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for path in tree::folders(root)?.into_iter().filter(|path| RunRecord::is_at(path)) {
        let Some(record) = left_out.read(RunRecord::read(&path)) else { continue };
        if record.status.is_none() {
            note!("warning: {}: not finished, left out", path.display());
            continue;
        }
        if let Some(config) = left_out.read(record.settings()) {
            runs.push(Run { config, record });
        }
    }
    Ok(runs)
}
