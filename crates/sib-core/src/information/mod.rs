//! Measures of the dependence between two sets of features of the same images.
//!
//! All of them see the features only through their Gram matrices `[B,B]`, so that they cost
//! `B²·D` whatever the number of features D.

pub mod differential;
pub mod hsic;
pub mod region;
pub mod renyi;

pub use differential::exp_z_scores;
pub use hsic::{Estimator, hsic, linear_gram};
pub use region::{RegionInformation, RegionPairs, Regions};
