//! Which cell of a table.

use sib_core::objective::MaskOrigin;

/// What a cell is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Architecture.
    pub arch: String,
    /// What the S-IB network's mask was in training; its baseline is the same network.
    pub mask: MaskOrigin,
    /// Dataset.
    pub dataset: String,
    /// Method; empty in tables of networks.
    pub method: String,
    /// Metric by its name in the tables.
    pub metric: String,
}
