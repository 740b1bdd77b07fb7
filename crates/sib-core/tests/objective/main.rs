//! The objective against reference values, finite differences and the directional oracle, and under random settings.

mod derivatives;
mod direction;
mod golden;
mod nets;
mod random;
mod seen;
