//! The command line from end to end, on the built-in data and a tiny network.

mod arguments;
mod data;
mod evaluate;
mod evaluate_again;
mod explain;
mod figure;
mod import;
mod pipes;
mod report;
mod resume;
mod step;
mod sure_networks;
mod train;
mod workplace;
