//! The command line from end to end, on the built-in data and a tiny network.

mod annotation;
mod arguments;
mod bench;
mod calibration;
mod compare;
mod configs;
mod data;
mod dependencies;
mod device;
mod doctor;
mod evaluate;
mod evaluate_again;
mod evaluation_files;
mod explain;
#[cfg(target_os = "linux")]
mod faults;
mod figure;
mod fine_tuning;
mod group;
mod hostile;
mod import;
mod init;
mod json;
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
