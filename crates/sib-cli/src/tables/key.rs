//! Which cell of a table.

/// What a cell is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Architecture.
    pub arch: String,
    /// Dataset.
    pub dataset: String,
    /// Method; empty in tables of networks.
    pub method: String,
    /// Metric by its name in the tables.
    pub metric: String,
}
