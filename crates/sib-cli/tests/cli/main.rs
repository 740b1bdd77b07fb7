//! The command line from end to end, on the built-in data and a tiny network.

mod arguments;
mod bench;
mod configs;
mod data;
mod dependencies;
mod doctor;
mod evaluate;
mod evaluate_again;
mod evaluation_files;
mod explain;
mod figure;
mod fine_tuning;
mod import;
mod pipes;
mod report;
mod reproduce;
mod resume;
mod snapshot;
mod statistics;
mod step;
mod summary;
mod sure_networks;
mod table;
mod terms;
mod train;
mod workplace;
