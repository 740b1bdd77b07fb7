//! Training: a configuration to images and network, and from there to a finished run folder.

mod agreement;
mod batches;
mod checkpoints;
mod divergence;
mod follower;
pub(crate) mod held_out;
mod recorder;
mod rehearsal;
mod resume;
mod setup;
mod start;

pub use rehearsal::rehearse;
pub use resume::go_on;
pub use start::begin;
