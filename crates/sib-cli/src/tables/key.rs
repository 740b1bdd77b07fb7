//! Which cell of a table.

use crate::results::Called;

/// What a cell is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Architecture.
    pub arch: String,
    /// The network beside the baseline.
    pub network: Called,
    /// Dataset.
    pub dataset: String,
    /// Method; empty in tables of networks.
    pub method: String,
    /// Metric by its name in the tables.
    pub metric: String,
}
