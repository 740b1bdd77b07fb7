//! The command line from end to end, on the built-in data and a tiny network.

mod data;
mod evaluate;
mod explain;
mod figure;
mod import;
mod report;
mod step;
mod train;
mod workplace;
