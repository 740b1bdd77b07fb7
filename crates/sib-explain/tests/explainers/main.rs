//! The explainers against closed forms, against themselves and against other implementations.

mod closed_form;
mod direction;
mod methods;
mod parity;
mod photographs;
mod properties;
mod targets;
mod toys;
