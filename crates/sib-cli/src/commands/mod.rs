//! One file a command: its arguments and what it does.

pub mod bench;
pub mod data;
pub mod doctor;
pub mod evaluate;
pub mod explain;
pub mod import;
pub mod predict;
pub mod table;
pub mod train;
