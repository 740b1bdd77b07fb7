//! The objective against reference values, finite differences and the directional oracle.

mod derivatives;
mod direction;
mod golden;
mod nets;
