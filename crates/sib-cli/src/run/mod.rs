//! The folder of a training run: everything that was set, measured and saved.
//!
//! ```text
//! config.toml        resolved configuration; runs again unchanged
//! environment.toml   versions, device, threads
//! metrics.csv        step, epoch, split, name, value
//! checkpoints/       last.safetensors, best.safetensors, state of the trainer
//! tensorboard/       the same metrics as an event file
//! failure.toml       where a loss was not finite: the step, the terms, the images
//! status.toml        written last: what the run ended with
//! ```

mod failure;
mod folder;
mod lock;
mod metrics;
mod record;
mod status;
mod tensorboard;
mod toml_file;

pub use failure::Failure;
pub use folder::{CONFIG, ENVIRONMENT, RunDir, checkpoint_of};
pub use lock::FolderLock;
pub use metrics::{MetricRow, MetricsLog, read_metrics};
pub use record::RunRecord;
pub use status::Status;
