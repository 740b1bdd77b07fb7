//! The configuration of a training run: TOML files that may extend one another, then `--set`.

mod data;
mod objective;
mod problem;
mod read;
mod settings;
mod train;

pub use data::DataConfig;
pub use objective::objective_of;
pub(crate) use read::assign;
pub use settings::Config;

#[cfg(test)]
mod tests;
