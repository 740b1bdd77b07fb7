//! The readers of folders that others wrote, for `fuzz/`: part of no interface.

use std::path::Path;

use crate::config::Config;
use crate::explanation::{folder, manifest};
use crate::npy as numpy;
use crate::results::{Evaluation, Run};
use crate::run::read_metrics;

/// A heatmap of 4 x 4 values.
pub fn npy(path: &Path) {
    if let Ok(map) = numpy::read(path, [4, 4]) {
        assert_eq!(map.size(), [4, 4]);
    }
}

/// A configuration.
pub fn config(path: &Path) {
    drop(Config::load(path, &[]));
}

/// A run folder.
pub fn run(folder: &Path) {
    drop(Run::read(folder));
    drop(read_metrics(folder));
}

/// The folder of an evaluation.
pub fn evaluation(folder: &Path) {
    if let Ok(evaluation) = Evaluation::read(folder) {
        drop(evaluation.images());
    }
}

/// The folder of an explanation.
pub fn explanation(folder: &Path) {
    drop(folder::Description::read(folder));
    drop(manifest::read(folder));
}
