//! Every reader of files that others write, as a function of bytes: none may panic, hang, or take memory that the
//! bytes do not pay for. `scripts/fuzz.sh` looks for bytes that make one, guided by coverage; the tests feed those that
//! it has found, and the seeds that it begins with, as they are and damaged.

mod file;
mod targets;

pub use targets::{TARGETS, Target};
