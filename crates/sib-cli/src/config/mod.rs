//! The configuration of a training run: TOML files that may extend one another, then `--set`.

mod data;
mod problem;
mod read;
mod settings;
mod train;

pub use data::DataConfig;
pub(crate) use read::assign;
pub use settings::Config;

#[cfg(test)]
mod tests;
