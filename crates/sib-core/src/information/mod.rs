//! Measures of the dependence between two sets of features of the same images.
//!
//! All of them see the features only through their Gram matrices `[B,B]`, so that they cost
//! `B²·D` whatever the number of features D.

pub mod hsic;

pub use hsic::{Estimator, hsic, linear_gram};
