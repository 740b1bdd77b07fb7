//! How a dataset is read.

use serde::{Deserialize, Serialize};

use super::synthetic::options::SyntheticOptions;

/// How [`open`](super::open) reads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataOptions {
    /// Lines of split files that name missing images are left out instead of being an error, and
    /// with them the classes of which no image is there.
    pub allow_missing: bool,
    /// Settings of the `synthetic` dataset; the others ignore them.
    pub synthetic: SyntheticOptions,
}
