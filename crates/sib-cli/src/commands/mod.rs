//! One file a command: its arguments and what it does.

pub mod doctor;
pub mod evaluate;
pub mod import;
pub mod predict;
pub mod table;
pub mod train;
